package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"salvor/internal/objstore"
	"salvor/internal/upkeep"
	"salvor/internal/vault"
)

// lockFlags are init's flags about object lock.
func lockFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "lock-days", Usage: "lock the objects in the S3 bucket for `N` days at a time, at least 3"},
		&cli.StringFlag{Name: "lock-mode", Usage: "`MODE` governance (who has a right of its own may end locks early) or compliance (nobody may); else governance"},
		&cli.BoolFlag{Name: "accept-late-erasing", Usage: "with --lock-days: accept that deleted mail remains for longer than it should"},
	}
}

// createdLock is how a new vault's objects are locked.
type createdLock struct {
	Mode string `json:"mode"`
	Days int    `json:"days"`
	// RemainsDays is for how many days after its deletion mail remains at most,
	// RemainsUntil until when what is deleted now does.
	RemainsDays  int       `json:"remains_days"`
	RemainsUntil time.Time `json:"remains_until"`
}

// readLock reads them. A lock that outlives the time within which deleted mail
// is to be gone is refused unless it is accepted.
func (a *app) readLock(c *cli.Context, o *creation) error {
	if !c.IsSet("lock-days") {
		if c.IsSet("lock-mode") || c.IsSet("accept-late-erasing") {
			return usagef("--lock-mode and --accept-late-erasing belong to --lock-days")
		}
		return nil
	}
	o.lock = vault.LockRule{Mode: objstore.LockMode(first(c.String("lock-mode"), string(objstore.Governance))), Days: c.Int("lock-days")}
	if err := o.lock.Validate(); err != nil {
		return usagef("--lock-days: %w", err)
	}
	if len(o.targets) > 0 {
		return usagef("--lock-days and --parity do not go together: a vault that is locked lies in one bucket")
	}
	if !strings.HasPrefix(a.settings.vault, "s3:") {
		return usagef("--lock-days is for an S3 bucket, not for %s", a.settings.vault)
	}
	policy, err := a.policy(c)
	if err != nil {
		return err
	}
	o.lockRemains = policy.Remains(o.lock.Time())
	limit := policy.EraseLimit()
	if o.lockRemains <= limit || c.Bool("accept-late-erasing") {
		return nil
	}
	most := int((limit - policy.Remains(0) + policy.Erase) / (24 * time.Hour))
	return &codeError{code: exitUsage,
		err: fmt.Errorf("--lock-days %d: deleted mail would remain for up to %s (the time it is kept, a week until its pack is rewritten, and the lock), and is to be gone within %s",
			o.lock.Days, days(o.lockRemains), days(limit)),
		hint: fmt.Sprintf("up to --lock-days %d it is; --accept-late-erasing makes it all the same", most)}
}

// days is a duration in whole days, rounded up.
func days(d time.Duration) string { return counted(wholeDays(d), "day") }

func wholeDays(d time.Duration) int { return int((d + 24*time.Hour - 1) / (24 * time.Hour)) }

func (a *app) lockMade(o creation) *createdLock {
	if o.lock.Days == 0 {
		return nil
	}
	return &createdLock{string(o.lock.Mode), o.lock.Days, wholeDays(o.lockRemains), a.now().Add(o.lockRemains).UTC().Truncate(time.Second)}
}

func (a *app) tellLock(l *createdLock) {
	if l == nil {
		return
	}
	a.say("Its objects are locked for %s (%s), and nightly prunes extend that while they are needed.\n"+
		"  Deleted mail remains for up to %s: what is deleted today, until %s.", counted(l.Days, "day"), l.Mode, counted(l.RemainsDays, "day"), moment(l.RemainsUntil))
}

// printLocks says in status how the locks stand.
func (a *app) printLocks(l *upkeep.LockStatus) {
	if l == nil {
		return
	}
	line := fmt.Sprintf("locks    %s, all until %s", l.Mode, moment(l.Until))
	if l.Soon > 0 {
		line += fmt.Sprintf("; %s not extended yet", counted(l.Soon, "object"))
	}
	if l.Waiting > 0 {
		line += fmt.Sprintf("; %s (%s) to be erased are locked until %s", counted(l.Waiting, "object"), size(l.WaitingBytes), momentOf(l.WaitingUntil))
	}
	a.print("%s", line)
}

// printRemains says what is left of a forgotten user.
func (a *app) printRemains(all []upkeep.Remainder) {
	a.print("What remains:")
	for _, r := range all {
		line := "- "
		if r.Bytes > 0 {
			line += size(r.Bytes) + " "
		}
		line += r.What
		if r.Until != nil {
			line += ", until " + moment(*r.Until)
		}
		a.print("%s: %s", line, r.When)
	}
}

// lockWords says before a forget until when locked objects will remain.
func (a *app) lockWords(c vault.Config) {
	if c.Lock.Days > 0 {
		a.say("Objects of this vault are locked: what they hold of the user remains until %s at most.", moment(a.now().Add(c.Lock.Time())))
	}
}
