package main

import "github.com/urfave/cli/v2"

func (a *app) salvageCommand() *cli.Command {
	return &cli.Command{
		Name: "salvage", Category: categoryDisaster,
		Usage:       "look at the mail that was found on damaged disks",
		Description: "What was found is kept in a result directory, which redeliver reads.",
		UsageText:   "salvor salvage show /root/rescued",
		Subcommands: []*cli.Command{a.salvageShowCommand()},
	}
}
