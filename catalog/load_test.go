package catalog

import (
	"slices"
	"testing"
)

func TestLoads(t *testing.T) {
	c := library(t)
	tx := begin(t, c)
	must(t, tx.Put(User{Name: "new", Source: "s"}, Mailbox{ID: 9, User: "zoe", Name: "Later"}))
	// A date in the future says nothing; a message is as new as the run that saw it.
	must(t, tx.Put(Record{ID: 90, Mailbox: 9, Content: testID("m0"), StoredSize: 1000, InternalDate: day(9000), FirstSeen: day(4)},
		Record{ID: 91, Mailbox: 9, Content: testID("m0"), StoredSize: 24}))
	commit(t, tx)
	got := map[string]Load{}
	var order []string
	must(t, c.Loads(ctx, "", func(l *Load) error {
		got[l.User] = *l
		order = append(order, l.User)
		return nil
	}))
	if !slices.Equal(order, []string{"amy", "new", "zoe"}) {
		t.Errorf("order %q", order)
	}
	for _, want := range []Load{
		{User: "amy", Messages: 1, Newest: day(1)}, // seen in night 1, dated day 30
		{User: "new"},
		{User: "zoe", Messages: 4, Bytes: 1024, Newest: day(4)},
	} {
		l := got[want.User]
		if l.Messages != want.Messages || l.Bytes != want.Bytes || !l.Newest.Equal(want.Newest) {
			t.Errorf("got %+v, want %+v", l, want)
		}
	}
	n := 0
	must(t, c.Loads(ctx, "zoe", func(*Load) error { n++; return nil }))
	must(t, c.Loads(ctx, "nobody", func(*Load) error { n++; return nil }))
	if n != 1 {
		t.Errorf("%d loads of single users", n)
	}
}
