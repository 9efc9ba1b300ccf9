package owe

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"sync"
	"time"

	"salvor/catalog"
	"salvor/chunk"
	"salvor/internal/incident"
	"salvor/internal/incident/gate"
	"salvor/internal/mailstore"
)

// Run carries out the plan whose SHA-256 is sum. The first error of the server
// ends it; what was done until then is told all the same. Running it again goes
// on where it ended.
func Run(ctx context.Context, l *incident.Ledger, o Options, sum string) (*Report, error) {
	if err := incident.VerifyKept(ctx, &l.Incident); err != nil {
		return nil, err
	}
	p, err := readPlan(l.Incident.Kept, sum)
	if err != nil {
		return nil, err
	}
	if err := p.fits(l, &o); err != nil {
		return nil, err
	}
	if _, err := incident.Users(ctx, l.Catalog(), l.Incident.Name, o.Accept); err != nil {
		return nil, err // a name that is mistyped would accept nobody
	}
	r := &Report{Incident: p.head.Incident, Store: o.Store, Plan: sum, Users: make([]*User, len(p.users))}
	users := make([]string, len(p.users))
	for i, u := range p.users {
		users[i] = u.User
		r.Users[i] = &User{User: u.User, Messages: u.Messages, Take: u.Take, Again: u.again(), Folders: []Folder{}, Problems: []string{}}
		r.Users[i].judge()
		r.Take += u.Take
	}
	o.Meter.Stage("take out")
	o.Meter.Total(int64(r.Take), 0)
	run := &running{l: l, o: &o, sights: map[string]gate.Sight{}}
	err = incident.Beside(ctx, o.beside(), users, func(ctx context.Context, at int, user string) error {
		t := &turn{running: run, part: &p.users[at], report: r.Users[at]}
		if err := t.run(ctx); err != nil {
			return fmt.Errorf("user %q: %w", user, err)
		}
		return nil
	})
	for _, u := range r.Users {
		r.Taken += u.Taken
	}
	r.Looked = len(run.sights)
	if err != nil {
		return r, err
	}
	return r, run.open(ctx, r, users)
}

// fits tells why a plan is not to be run now.
func (p *plan) fits(l *incident.Ledger, o *Options) error {
	age := l.Now().Sub(p.head.Made)
	switch {
	case p.head.Incident != l.Incident.Name:
		return fmt.Errorf("%w: it is for incident %q", ErrPlan, p.head.Incident)
	case p.head.Store != o.Store:
		return fmt.Errorf("%w: it is for %s", ErrPlan, p.head.Store)
	case age < 0:
		return fmt.Errorf("%w: it was made %s, which is still to come", ErrPlan, p.head.Made.Format(time.RFC3339))
	case age > oldest:
		return fmt.Errorf("%w: it was made %s", ErrOld, p.head.Made.Format(time.RFC3339))
	case age < o.Settle:
		return fmt.Errorf("%w; wait for another %v", ErrYoung, (o.Settle - age).Round(time.Second))
	}
	return nil
}

// running is one Run.
type running struct {
	l *incident.Ledger
	o *Options

	mu     sync.Mutex
	sights map[string]gate.Sight // what was seen of users in the end
}

func (r *running) saw(user string, s gate.Sight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sights[user] = s
}

// open brings the gates of those up to date who were looked at.
func (r *running) open(ctx context.Context, report *Report, users []string) error {
	var seen []string
	of := map[string]*User{}
	for i, user := range users {
		of[user] = report.Users[i]
		if _, ok := r.sights[user]; ok {
			seen = append(seen, user)
		}
	}
	if len(seen) == 0 {
		return nil
	}
	rows, err := gate.Update(ctx, r.l, gate.Options{Users: seen, Sights: r.sights, Hook: r.o.Hook})
	for _, row := range rows {
		if row.Problem != nil {
			of[row.User].problem("%v", row.Problem)
		}
	}
	return err
}

// A turn is one user's part of a run.
type turn struct {
	*running
	part   *planUser
	report *User
	live   mailstore.Live
	docket *docket
	view   *sight
	began  time.Time // of the look
	found  []ruling  // what is still as the plan has it
	// present are claims whose messages have their content again, gone those whose
	// entries are out already.
	present, gone []catalog.Claim
}

// run does a user: look again, write down, take out, look whether all is well.
func (t *turn) run(ctx context.Context) (err error) {
	t.live, err = t.o.Server.Live(ctx, t.part.User)
	if errors.Is(err, mailstore.ErrNoAccount) {
		t.report.problem("there is no such account at %s", t.o.Store)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.live.Close(ctx)) }()
	remover, ok := t.live.(mailstore.Remover)
	if !ok {
		return ErrRemove
	}
	if err := t.lookAgain(ctx); err != nil {
		return err
	}
	if t.refuse() {
		return t.lookLast(ctx)
	}
	if ready, err := t.lower(ctx); err != nil || !ready {
		return err
	}
	if err := t.writeDown(ctx); err != nil {
		return err
	}
	if err := t.takeOut(ctx, remover); err != nil {
		return err
	}
	return t.lookLast(ctx)
}

// refuse tells whether more is to be taken out than may be unasked, or more has
// lost its content since.
func (t *turn) refuse() bool {
	if beyond(t.report.New, t.view.messages) {
		t.report.Refused = true
	}
	for _, user := range t.o.Accept {
		if user == t.part.User {
			t.report.Refused = false
		}
	}
	return t.report.Refused
}

// lookAgain looks at the account, and at each message of the plan for a second
// time.
func (t *turn) lookAgain(ctx context.Context) error {
	if err := t.look(ctx); err != nil {
		return err
	}
	dangling := map[place]entry{}
	for _, e := range t.view.dangling {
		dangling[e.place()] = e
	}
	for i := range t.part.entries {
		p := &t.part.entries[i]
		e, ok := dangling[p.place()]
		delete(dangling, p.place())
		var err error
		switch b := t.view.boxes[p.Folder]; {
		case b == nil || b.UIDValidity != p.UIDValidity:
			t.renumbered(p)
		case b.ReadOnly && p.Take:
			t.report.problem("folder %q: UID %d: the folder cannot be changed", p.Folder, p.UID)
		case ok:
			err = t.second(ctx, p, e)
		case !t.view.lists(p.place()):
			t.alreadyGone(p)
		case p.Take:
			err = t.whole(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	for _, e := range dangling {
		if r, err := t.docket.rule(e); err != nil {
			return err
		} else if r.take || r.write {
			t.report.New++
		}
	}
	if t.report.New > 0 {
		t.report.problem("messages that have no content either and are not in the plan: %d; make a new plan", t.report.New)
	}
	return nil
}

func (t *turn) look(ctx context.Context) (err error) {
	t.began = t.l.Now()
	if t.view, err = view(ctx, t.live); err != nil {
		return err
	}
	t.report.Dangling = len(t.view.dangling)
	t.docket, err = openDocket(ctx, t.l, t.o.Store, t.part.User, t.view)
	return err
}

func (t *turn) renumbered(p *planEntry) {
	line := fmt.Sprintf("folder %q is not the one that the plan is about (UIDVALIDITY %d): nothing of it is touched", p.Folder, p.UIDValidity)
	for _, said := range t.report.Problems {
		if said == line {
			return
		}
	}
	t.report.problem("%s", line)
}

// second judges an entry of the plan that still has no content.
func (t *turn) second(ctx context.Context, p *planEntry, e entry) error {
	r, err := t.docket.rule(e)
	if err != nil {
		return err
	}
	if r.take != p.Take {
		if r.kind != kindHeld || p.Kind != kindHeld {
			t.report.problem("folder %q: UID %d: the ledger has changed since the plan was made; make a new one", p.Folder, p.UID)
		}
		return nil
	}
	if !r.take {
		t.found = append(t.found, r)
		return nil
	}
	state, err := ask(ctx, t.live, e)
	switch {
	case err != nil:
		return err
	case state == contentMissing:
		t.found = append(t.found, r)
	case state == contentWhole:
		return t.whole(ctx, p)
	case state == contentOther:
		t.report.Damaged++
		t.report.problem("folder %q: UID %d gives other bytes than it should; it is left alone", p.Folder, p.UID)
	}
	return nil
}

// claim gives the claim that an entry of the plan is about; nil: there is none.
func (t *turn) claim(p *planEntry) *catalog.Claim {
	if c := t.docket.byID[p.Claim]; c != nil {
		return c
	}
	return t.docket.byID[t.docket.at[p.place()]]
}

// alreadyGone takes note of an entry that is out: of an interrupted run of the
// plan, mostly.
func (t *turn) alreadyGone(p *planEntry) {
	t.report.Gone++
	c := t.claim(p)
	if c == nil || !p.Take || !c.TakenAt.IsZero() {
		return
	}
	copied := place{c.NowFolder, c.NowValidity, mailstore.UID(c.NowUID)} == p.place()
	r := ruling{claim: c, copied: copied && (c.State == catalog.ClaimOwed || c.State == catalog.ClaimHeld)}
	t.gone = append(t.gone, r.done(t.l.Now()))
}

// whole takes note of a message that has content again. When it is the one that
// was promised, nobody owes it any more.
func (t *turn) whole(ctx context.Context, p *planEntry) error {
	t.report.Whole++
	c := t.claim(p)
	if c == nil || c.State != catalog.ClaimOwed || c.SHA1 == zeroSum || c.InFlight() || c.Doubt || p.place() != (place{c.Folder, c.UIDValidity, mailstore.UID(c.UID)}) {
		return nil
	}
	body, err := t.live.Body(ctx, p.Folder, p.UID)
	var dangling *mailstore.Dangling
	switch {
	case errors.As(err, &dangling), errors.Is(err, mailstore.ErrVanished), errors.Is(err, mailstore.ErrNoMailbox):
		return nil
	case err != nil:
		return err
	}
	if chunk.SHA1(sha1.Sum(body)) == c.SHA1 {
		found := *c
		found.State, found.Reason = catalog.ClaimPresent, "the server has its content again"
		t.present = append(t.present, found)
	}
	return nil
}

// lower closes the gate of a user who is told to have nothing that dangles,
// before anything is changed.
func (t *turn) lower(ctx context.Context) (ready bool, err error) {
	g, _, err := t.l.Catalog().Gate(t.l.Incident.Name, t.part.User)
	if err != nil || g.State != catalog.GateIMAP && g.Told != catalog.GateIMAP || len(t.view.dangling) == 0 {
		return err == nil, err
	}
	seen := gate.Sight{Store: t.o.Store, At: t.began, Dangling: int64(len(t.view.dangling))}
	rows, err := gate.Update(ctx, t.l, gate.Options{Users: []string{t.part.User}, Sights: map[string]gate.Sight{t.part.User: seen}, Hook: t.o.Hook})
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		if row.Problem != nil {
			t.report.problem("nothing was taken out: %v", row.Problem)
			t.report.Left = len(t.view.dangling)
			return false, nil
		}
	}
	return true, nil
}

// writeDown puts all that is found into the ledger.
func (t *turn) writeDown(ctx context.Context) error {
	claims := append(append([]catalog.Claim{}, t.present...), t.gone...)
	var news []int
	for i := range t.found {
		if t.found[i].write {
			news = append(news, i)
			claims = append(claims, *t.found[i].claim)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return t.l.Change(ctx, func(e *incident.Edit) error {
		for i := range claims {
			c := claims[i] // with no ID of a try before
			if err := e.Put(&c); err != nil {
				return err
			}
			if at := i - (len(claims) - len(news)); at >= 0 {
				t.found[news[at]].claim.ID = c.ID
			}
		}
		return nil
	})
}

// takeOut removes what has no content when it is asked for once more: writing it
// down may have taken hours.
func (t *turn) takeOut(ctx context.Context, remover mailstore.Remover) error {
	byFolder := map[string][]ruling{}
	var folders []string
	for _, r := range t.found {
		if !r.take {
			continue
		}
		state, err := ask(ctx, t.live, r.entry)
		if err != nil {
			return err
		}
		if state == contentWhole || state == contentOther {
			t.report.problem("folder %q: UID %d has content again, and is left alone; make a new plan", r.entry.folder, r.entry.UID)
			continue
		}
		if byFolder[r.entry.folder] == nil {
			folders = append(folders, r.entry.folder)
		}
		byFolder[r.entry.folder] = append(byFolder[r.entry.folder], r)
	}
	var out []catalog.Claim
	for _, folder := range folders {
		rulings := byFolder[folder]
		uids := make([]mailstore.UID, len(rulings))
		for i, r := range rulings {
			uids[i] = r.entry.UID
		}
		if err := remover.Remove(ctx, folder, rulings[0].entry.validity, uids); err != nil {
			return err
		}
		now := t.l.Now()
		for _, r := range rulings {
			out = append(out, r.done(now))
		}
		t.report.Taken += len(uids)
		t.report.Folders = append(t.report.Folders, Folder{folder, rulings[0].entry.validity, len(uids)})
		t.o.Meter.Add(int64(len(uids)), 0)
	}
	return t.l.Put(ctx, out...)
}

// lookLast looks whether everything that is listed has content.
func (t *turn) lookLast(ctx context.Context) error {
	began := t.l.Now()
	v, err := view(ctx, t.live)
	if err != nil {
		return err
	}
	t.report.Left = len(v.dangling)
	d, err := openDocket(ctx, t.l, t.o.Store, t.part.User, v)
	if err != nil {
		return err
	}
	for _, e := range v.dangling {
		r, err := d.rule(e)
		if err != nil {
			return err
		}
		if r.kind == kindHeld {
			t.report.Held++
		}
	}
	t.saw(t.part.User, gate.Sight{Store: t.o.Store, At: began, Dangling: int64(len(v.dangling))})
	return nil
}
