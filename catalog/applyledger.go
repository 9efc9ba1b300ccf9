package catalog

import "strings"

func (c *conn) incidentID(name string) (id int64, found bool, err error) {
	found, err = c.prep("SELECT id FROM incident WHERE name = ?").text(name).one(func(r row) { id = r.int(0) })
	return id, found, err
}

func (r Incident) put(t *Tx) error {
	st := t.w.prep(`INSERT INTO incident (name, source, origin, at, opened_at, opened_by, closed_at, closed_by, head, head_hash, run,
		kept, kept_sum, claims, problems) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET source = excluded.source, origin = excluded.origin, at = excluded.at,
		opened_at = excluded.opened_at, opened_by = excluded.opened_by, closed_at = excluded.closed_at, closed_by = excluded.closed_by,
		head = excluded.head, head_hash = excluded.head_hash, run = excluded.run, kept = excluded.kept, kept_sum = excluded.kept_sum,
		claims = excluded.claims, problems = excluded.problems`)
	return st.text(r.Name).text(r.Source).text(r.Index).time(r.At).time(r.OpenedAt).text(r.OpenedBy).time(r.ClosedAt).text(r.ClosedBy).
		int(int64(r.Head)).blobz(r.HeadHash[:]).int(int64(r.Run)).text(r.Kept).blobz(r.KeptSum[:]).int(r.Claims).blob(packTexts(r.Problems)).run()
}

func (r Incident) remove(t *Tx) error {
	id, found, err := t.w.incidentID(r.Name)
	if err != nil || !found {
		return err
	}
	if err := t.free(r, "SELECT id FROM claim WHERE incident = ? LIMIT 1", id, "claim"); err != nil {
		return err
	}
	if err := t.free(r, "SELECT 0 FROM gate WHERE incident = ? LIMIT 1", id, "gate"); err != nil {
		return err
	}
	if err := t.free(r, "SELECT 0 FROM finding WHERE incident = ? LIMIT 1", id, "finding"); err != nil {
		return err
	}
	t.incidents.id = 0
	return t.w.prep("DELETE FROM incident WHERE id = ?").int(id).run()
}

// incidentOf gives the id of the incident that a row belongs to.
func (t *Tx) incidentOf(r Row, name string) (int64, error) {
	return t.incidents.get(name, func() (int64, error) {
		id, found, err := t.w.incidentID(name)
		if err == nil && !found {
			err = rowError(r, "no incident %q", name)
		}
		return id, err
	})
}

func (r Claim) put(t *Tx) error {
	incident, err := t.incidentOf(r, r.Incident)
	if err != nil {
		return err
	}
	verb := "INSERT"
	if !t.used(ClaimIDs, r.ID) {
		verb = "INSERT OR REPLACE"
	}
	return t.w.prep(verb + " INTO claim VALUES (?" + strings.Repeat(", ?", 31) + ")").int(incident).int(r.ID).text(r.User).text(r.Folder).
		int(int64(r.UIDValidity)).int(int64(r.UID)).text(string(r.State)).text(r.Reason).blobz(r.Content[:]).blobz(r.SHA1[:]).int(r.Size).
		blob(packTexts(r.Flags)).time(r.InternalDate).text(r.MessageID).int(r.Record).text(r.Name).text(r.Envelope).time(r.SettledAt).
		text(r.NowStore).text(r.NowFolder).int(int64(r.NowValidity)).int(int64(r.NowUID)).text(string(r.Grade)).time(r.TakenAt).
		time(r.SentAt).text(r.SentStore).text(r.SentFolder).int(int64(r.SentValidity)).int(int64(r.SentNext)).int(r.SentOrder).
		blobz(r.SentSum[:]).bool(r.Doubt).run()
}

func (r Claim) remove(t *Tx) error {
	id, found, err := t.w.incidentID(r.Incident)
	if err != nil || !found {
		return err
	}
	return t.w.prep("DELETE FROM claim WHERE incident = ? AND id = ?").int(id).int(r.ID).run()
}
