package catalog

// Clear removes all rows but not the head, so that a checkpoint can be applied
// in their place. It is not journaled: a checkpoint means it.
func (t *Tx) Clear() error {
	return wrap(t.do(func() error {
		for _, table := range []string{"user", "mailbox", "record", "content", "part", "chunk", "chunk_at", "frame", "pack",
			"run", "hold", "tombstone", "ack", "lock", "incident", "claim", "gate", "finding", "drill", "counter"} {
			if err := t.w.exec("DELETE FROM " + table); err != nil {
				return err
			}
		}
		return t.reset()
	}), "clear catalog")
}
