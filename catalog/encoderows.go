package catalog

import "salvor/chunk"

func (r User) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("name", r.Name)
	return o.close()
}

func (r User) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("name", r.Name)
	o.textz("source", r.Source)
	o.textz("partition", r.Partition)
	o.uintz("first_run", r.FirstRun)
	o.timez("first_seen", r.FirstSeen)
	o.uintz("last_run", r.LastRun)
	o.uintz("last_good", r.LastGood)
	o.timez("last_good_at", r.LastGoodAt)
	o.intz("failed", int64(r.Failed))
	o.uintz("gone_run", r.GoneRun)
	return o.close()
}

func appendIDKey(b []byte, id int64) []byte {
	o := newObject(b)
	o.int("id", id)
	return o.close()
}

func appendHashKey(b []byte, id chunk.ID) []byte {
	o := newObject(b)
	o.hash("id", id[:])
	return o.close()
}

func (r Mailbox) appendKey(b []byte) []byte { return appendIDKey(b, r.ID) }

func (r Mailbox) appendRow(b []byte) []byte {
	o := newObject(b)
	o.int("id", r.ID)
	o.text("user", r.User)
	o.text("name", r.Name)
	o.textz("object_id", r.ObjectID)
	o.intz("uid_validity", int64(r.UIDValidity))
	o.intz("uid_next", int64(r.UIDNext))
	o.textz("special_use", r.SpecialUse)
	o.truez("subscribed", r.Subscribed)
	o.textz("state", r.State)
	o.uintz("first_run", r.FirstRun)
	o.timez("first_seen", r.FirstSeen)
	o.uintz("failed_run", r.FailedRun)
	o.uintz("gone_run", r.GoneRun)
	o.timepz("gone_at", r.GoneAt)
	o.textz("excluded", r.Excluded)
	o.intz("messages", int64(r.Messages))
	o.uintz("highest_mod_seq", r.HighestModSeq)
	o.textz("acl", r.ACL)
	o.textz("quota", r.Quota)
	return o.close()
}

func (r Record) appendKey(b []byte) []byte { return appendIDKey(b, r.ID) }

func (r Record) appendRow(b []byte) []byte {
	o := newObject(b)
	o.int("id", r.ID)
	o.int("mailbox", r.Mailbox)
	o.intz("uid", int64(r.UID))
	o.textz("key", r.Key)
	o.hash("content", r.Content[:])
	if r.Stored != r.Content {
		o.hash("stored", r.Stored[:])
	}
	o.intz("stored_size", r.StoredSize)
	o.textz("line_ends", string(r.LineEnds))
	o.textsz("flags", r.Flags)
	o.timez("internal_date", r.InternalDate)
	o.uintz("mod_seq", r.ModSeq)
	o.textz("source_state", r.SourceState)
	o.uintz("first_run", r.FirstRun)
	o.timez("first_seen", r.FirstSeen)
	o.uintz("gone_run", r.GoneRun)
	o.timepz("gone_at", r.GoneAt)
	o.intz("hold", r.Hold)
	o.intz("moved_to", r.MovedTo)
	o.textz("object_id", r.ObjectID)
	o.timez("expunged", r.Expunged)
	return o.close()
}

func (r Content) appendKey(b []byte) []byte { return appendHashKey(b, r.ID) }

func (r Content) appendRow(b []byte) []byte {
	o := newObject(b)
	o.hash("id", r.ID[:])
	o.hash("sha1", r.SHA1[:])
	o.int("size", r.Size)
	if len(r.Parts) > 0 {
		o.name("parts")
		o.b = appendList(o.b, r.Parts, appendRef)
	}
	o.textz("from", r.From)
	o.textz("to", r.To)
	o.textz("subject", r.Subject)
	o.textz("message_id", r.MessageID)
	o.timepz("date", r.Date)
	return o.close()
}

func appendRef(b []byte, r chunk.Ref) []byte {
	o := newObject(b)
	o.text("kind", string(rune(r.Kind)))
	o.hash("id", r.ID[:])
	return o.close()
}

func (r Part) appendKey(b []byte) []byte { return appendHashKey(b, r.ID) }

func (r Part) appendRow(b []byte) []byte {
	o := newObject(b)
	o.hash("id", r.ID[:])
	o.int("size", r.Size)
	o.name("chunks")
	o.b = appendList(o.b, r.Chunks, appendID)
	return o.close()
}

func (r Pack) appendKey(b []byte) []byte { return appendHashKey(b, r.ID) }

func (r Pack) appendRow(b []byte) []byte {
	o := newObject(b)
	o.hash("id", r.ID[:])
	o.int("size", r.Size)
	o.int("commit", int64(r.Commit))
	o.timez("created_at", r.CreatedAt)
	o.uintz("condemned", r.Condemned)
	o.timepz("condemned_at", r.CondemnedAt)
	o.intz("dead_bytes", r.DeadBytes)
	o.timepz("dead_since", r.DeadSince)
	o.textz("damaged", r.Damaged)
	return o.close()
}

func (r Frame) appendKey(b []byte) []byte {
	o := newObject(b)
	o.hash("pack", r.Pack[:])
	o.int("offset", r.Offset)
	return o.close()
}

func (r Frame) appendRow(b []byte) []byte {
	o := newObject(b)
	o.hash("pack", r.Pack[:])
	o.int("offset", r.Offset)
	o.int("stored", r.Stored)
	o.int("plain", r.Plain)
	o.text("method", r.Method)
	o.name("chunks")
	o.b = appendList(o.b, r.Chunks, appendFrameChunk)
	return o.close()
}

func appendFrameChunk(b []byte, c FrameChunk) []byte {
	o := newObject(b)
	o.text("kind", string(rune(c.Kind)))
	o.hash("id", c.ID[:])
	o.int("offset", c.Offset)
	o.int("size", c.Size)
	return o.close()
}

func (r Run) appendKey(b []byte) []byte {
	o := newObject(b)
	o.int("number", int64(r.Number))
	return o.close()
}

func (r Run) appendRow(b []byte) []byte {
	o := newObject(b)
	o.int("number", int64(r.Number))
	o.text("kind", r.Kind)
	o.textz("source", r.Source)
	o.timez("started", r.Started)
	o.timez("finished", r.Finished)
	o.textz("clock", r.Clock)
	o.textz("host", r.Host)
	o.intz("users", int64(r.Users))
	o.intz("mailboxes", int64(r.Mailboxes))
	o.intz("seen", r.Seen)
	o.intz("new", r.New)
	o.intz("gone", r.Gone)
	o.intz("failed", r.Failed)
	o.intz("bytes_read", r.BytesRead)
	o.intz("bytes_new", r.BytesNew)
	o.intz("bytes_stored", r.BytesStored)
	o.textsz("held", r.Held)
	o.textsz("problems", r.Problems)
	o.truez("partial", r.Partial)
	return o.close()
}

func (r Hold) appendKey(b []byte) []byte { return appendIDKey(b, r.ID) }

func (r Hold) appendRow(b []byte) []byte {
	o := newObject(b)
	o.int("id", r.ID)
	o.text("user", r.User)
	o.int("run", int64(r.Run))
	o.textz("reason", r.Reason)
	o.intz("records", r.Records)
	o.textz("verdict", r.Verdict)
	o.timepz("verdict_at", r.VerdictAt)
	o.textz("verdict_by", r.VerdictBy)
	return o.close()
}

func (r Tombstone) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("user", r.User)
	o.hash("content", r.Content[:])
	return o.close()
}

func (r Tombstone) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("user", r.User)
	o.hash("content", r.Content[:])
	o.timez("last_seen", r.LastSeen)
	o.timez("expired_at", r.ExpiredAt)
	o.timez("until", r.Until)
	return o.close()
}

func (r Ack) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("attention", r.Attention)
	return o.close()
}

func (r Ack) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("attention", r.Attention)
	o.timez("at", r.At)
	o.textz("by", r.By)
	return o.close()
}

func (r Lock) appendKey(b []byte) []byte {
	o := newObject(b)
	return o.close()
}

func (r Lock) appendRow(b []byte) []byte {
	o := newObject(b)
	o.timez("until", r.Until)
	o.timez("target", r.Target)
	o.timez("began", r.Began)
	o.textz("next", r.Next)
	o.intz("left", r.Left)
	o.intz("waiting", r.Waiting)
	o.intz("waiting_bytes", r.WaitingBytes)
	o.timez("waiting_until", r.WaitingUntil)
	return o.close()
}

func (r Counter) appendKey(b []byte) []byte {
	o := newObject(b)
	o.text("table", r.Table)
	return o.close()
}

func (r Counter) appendRow(b []byte) []byte {
	o := newObject(b)
	o.text("table", r.Table)
	o.int("last", r.Last)
	return o.close()
}
