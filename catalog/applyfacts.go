package catalog

func (r Run) put(t *Tx) error {
	return t.w.prep("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)").
		int(int64(r.Number)).text(r.Kind).text(r.Source).time(r.Started).time(r.Finished).text(r.Clock).text(r.Host).
		int(int64(r.Users)).int(int64(r.Mailboxes)).int(r.Seen).int(r.New).int(r.Gone).int(r.Failed).
		int(r.BytesRead).int(r.BytesNew).int(r.BytesStored).
		blob(packTexts(r.Held)).blob(packTexts(r.Problems)).bool(r.Partial).run()
}

func (r Run) remove(t *Tx) error {
	return t.w.prep("DELETE FROM run WHERE number = ?").int(int64(r.Number)).run()
}

func (r Hold) put(t *Tx) error {
	t.used(HoldIDs, r.ID)
	return t.w.prep("INSERT OR REPLACE INTO hold VALUES (?, ?, ?, ?, ?, ?, ?, ?)").
		int(r.ID).text(r.User).int(int64(r.Run)).text(r.Reason).int(r.Records).
		text(r.Verdict).timep(r.VerdictAt).text(r.VerdictBy).run()
}

func (r Hold) remove(t *Tx) error {
	return t.w.prep("DELETE FROM hold WHERE id = ?").int(r.ID).run()
}

func (r Tombstone) put(t *Tx) error {
	return t.w.prep("INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?, ?, ?)").
		text(r.User).blob(r.Content[:]).time(r.LastSeen).time(r.ExpiredAt).time(r.Until).run()
}

func (r Tombstone) remove(t *Tx) error {
	return t.w.prep("DELETE FROM tombstone WHERE user = ? AND content = ?").text(r.User).blob(r.Content[:]).run()
}

func (r Ack) put(t *Tx) error {
	return t.w.prep("INSERT OR REPLACE INTO ack VALUES (?, ?, ?)").text(r.Attention).time(r.At).text(r.By).run()
}

func (r Ack) remove(t *Tx) error {
	return t.w.prep("DELETE FROM ack WHERE attention = ?").text(r.Attention).run()
}

func (r Lock) put(t *Tx) error {
	return t.w.prep("INSERT OR REPLACE INTO lock VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)").time(r.Until).time(r.Target).time(r.Began).
		text(r.Next).int(r.Left).int(r.Waiting).int(r.WaitingBytes).time(r.WaitingUntil).run()
}

func (Lock) remove(t *Tx) error { return t.w.exec("DELETE FROM lock") }

func (r Counter) put(t *Tx) error {
	s, _ := sequenceNamed(r.Table)
	t.used(s, r.Last)
	return nil
}

// remove refuses: an id that was used must never be given again.
func (r Counter) remove(*Tx) error { return rowError(r, "counters cannot be deleted") }
