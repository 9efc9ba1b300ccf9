package main

import (
	"fmt"
	"time"

	"salvor/catalog"
)

// claimWords is one message of an incident. Empty hashes and nil times: unknown,
// or none.
type claimWords struct {
	ID           int64      `json:"id"` // what --claim takes
	User         string     `json:"user"`
	Folder       string     `json:"folder"`
	UIDValidity  uint32     `json:"uid_validity"`
	UID          uint32     `json:"uid"`
	State        string     `json:"state"`
	Reason       string     `json:"reason"`
	Size         int64      `json:"size"`
	SHA1         string     `json:"sha1"`
	SHA256       string     `json:"sha256"` // of what the vault holds of it
	Flags        []string   `json:"flags"`
	InternalDate *time.Time `json:"internal_date"`
	MessageID    string     `json:"message_id"`
	Envelope     string     `json:"envelope"`
	FileName     string     `json:"file_name"`
	SettledAt    *time.Time `json:"settled_at"`
	NowStore     string     `json:"now_store"`
	NowFolder    string     `json:"now_folder"`
	NowValidity  uint32     `json:"now_uid_validity"`
	NowUID       uint32     `json:"now_uid"`
	Grade        string     `json:"grade"`
	TakenAt      *time.Time `json:"taken_at"`
	SentAt       *time.Time `json:"sent_at"`
	SentStore    string     `json:"sent_store"`
	SentFolder   string     `json:"sent_folder"`
	SentValidity uint32     `json:"sent_uid_validity"`
	SentNext     uint32     `json:"sent_uid_next"`
	SentOrder    int64      `json:"sent_order"`
	SentSHA256   string     `json:"sent_sha256"`
	InDoubt      bool       `json:"in_doubt"`
}

func wordsOfClaim(c *catalog.Claim) claimWords {
	w := claimWords{ID: c.ID, User: c.User, Folder: c.Folder, UIDValidity: c.UIDValidity, UID: c.UID, State: string(c.State), Reason: c.Reason, Size: c.Size,
		Flags: append([]string{}, c.Flags...), MessageID: c.MessageID, Envelope: c.Envelope, FileName: c.Name, InternalDate: timeOrNil(&c.InternalDate),
		SettledAt: timeOrNil(&c.SettledAt), NowStore: c.NowStore, NowFolder: c.NowFolder, NowValidity: c.NowValidity, NowUID: c.NowUID, Grade: string(c.Grade),
		TakenAt: timeOrNil(&c.TakenAt), SentAt: timeOrNil(&c.SentAt), SentStore: c.SentStore, SentFolder: c.SentFolder, SentValidity: c.SentValidity,
		SentNext: c.SentNext, SentOrder: c.SentOrder, InDoubt: c.Doubt}
	if !c.SHA1.IsZero() {
		w.SHA1 = c.SHA1.String()
	}
	if !c.Content.IsZero() {
		w.SHA256 = c.Content.String()
	}
	if !c.SentSum.IsZero() {
		w.SentSHA256 = c.SentSum.String()
	}
	return w
}

func timeOrNil(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return t
}

// remarkOf says why a message has its state, and where it is now.
func remarkOf(c *catalog.Claim) string {
	remark := c.Reason
	add := func(format string, args ...any) {
		if remark != "" {
			remark += "; "
		}
		remark += fmt.Sprintf(format, args...)
	}
	if c.NowStore != "" || c.NowFolder != "" || c.NowUID != 0 {
		now := "now in " + first(c.NowFolder, c.Folder)
		if c.NowUID != 0 {
			now += fmt.Sprintf(" under UID %d", c.NowUID)
		}
		if c.NowStore != "" {
			now += " at " + c.NowStore
		}
		add("%s", now)
	}
	if c.Doubt {
		add("in doubt: sent to %s of %s", first(c.SentFolder, c.Folder), first(c.SentStore, "a server"))
	} else if c.InFlight() {
		add("may be on its way to %s of %s", c.SentFolder, c.SentStore)
	}
	return remark
}
