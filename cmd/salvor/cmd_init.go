package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"salvor/internal/vault"
)

const (
	categoryWrite = "Backing up"
	categoryRead  = "Looking and restoring"
	categoryKeep  = "Keeping the vault"
)

func (a *app) initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Category: categoryWrite,
		Usage: "make a vault (and, where there is none, an identity)",
		Description: `The identity (an age key and the key that says who may write) is the file of
--identity where one is given, else ~/.config/salvor/identity.txt, made when it is
not there. With --recipient the vault is encrypted to exactly those keys; the
identity then only serves to say who may write.

With --parity 4+2 the vault lies on several targets (--target, once for each:
directories on different disks, buckets): of what it prints may be lost, nothing is
lost. It is then opened by the URL of any of them.

With --lock-days the objects in an S3 bucket get a lock, which nightly prunes extend
as long as they are needed: nobody who takes over this host deletes them. Deleted
mail is erased only when its locks have ended; init says until when it remains, and
refuses more than the time within which deleted mail is to be gone.

The first backup onto the default vault needs no init: see salvor backup --create.`,
		UsageText: "salvor init --vault /srv/backup/mail\nsalvor init --vault 's3://mail-backup/server3?endpoint=https://s3.example.org'\n" +
			"salvor init --parity 4+2 --target /mnt/a/mail --target /mnt/b/mail --target /mnt/c/mail\n" +
			"salvor init --vault 's3://mail-backup/server3?endpoint=https://s3.example.org' --make-bucket --lock-days 21",
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "recipient", Usage: "encrypt to `AGE` (age1...), whose identity is kept elsewhere"},
			&cli.StringFlag{Name: "parity", Usage: "spread every object as `K+M` shards over the targets, any K of which suffice, as in 4+2"},
			&cli.StringSliceFlag{Name: "target", Usage: "with --parity: a place for shards, a directory or s3://...; once for each `URL`"},
			&cli.BoolFlag{Name: "single-target-parity", Usage: "accept a layout that survives rot, but not the loss of a target"},
			&cli.BoolFlag{Name: "make-bucket", Usage: "make the vault's S3 bucket where it is not there, with --lock-days one with object lock"},
			&cli.BoolFlag{Name: "post-quantum", Usage: "make an identity that also withstands quantum computers (needs age 1.3)"},
		}, lockFlags()...),
		Action: a.action(0, 0, a.initVault),
	}
}

func (a *app) initVault(ctx context.Context, c *cli.Context) error {
	recipients := c.StringSlice("recipient")
	if len(recipients) > 0 { // before anything is made
		if _, err := (vault.Config{Recipients: recipients}).AgeRecipients(); err != nil {
			return &codeError{err: fmt.Errorf("--recipient: %w", err), code: exitUsage, hint: "as in --recipient age1..., from `salvor identity show` or age-keygen"}
		}
	}
	o := creation{recipients: recipients, postQuantum: c.Bool("post-quantum"), makeBucket: c.Bool("make-bucket")}
	if err := a.readTargets(c, &o); err != nil {
		return err
	}
	if err := a.readLock(c, &o); err != nil {
		return err
	}
	made, err := a.createVault(ctx, o)
	if err != nil {
		return err
	}
	a.tellCreated(made)
	if a.json {
		return a.printJSON(made)
	}
	return nil
}
