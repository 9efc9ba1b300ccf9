package restore

import (
	"context"
	"fmt"
	"slices"
)

// announce tells, before anything is written, which folders will not keep the
// original UIDs, and why: one line for each reason.
func (r *run) announce(ctx context.Context) error {
	n, ok := r.Destination.(Renumberer)
	if !ok {
		return nil
	}
	reasons := map[string][]string{}
	var order []string
	for _, folder := range r.choice.order {
		if m := r.choice.boxes[folder]; m.Excluded != "" {
			continue
		}
		name := r.target(folder)
		why, err := n.Renumbers(ctx, r.name, r.mailbox(folder, name))
		if err != nil {
			return r.destination(ctx, name, err)
		}
		if why != "" && !slices.Contains(order, why) {
			order = append(order, why)
		}
		reasons[why] = append(reasons[why], name)
	}
	for _, why := range order {
		which := fmt.Sprintf("folder %q", reasons[why][0])
		if n := len(reasons[why]); n > 1 {
			which = fmt.Sprintf("%d folders", n)
		}
		line := fmt.Sprintf("user %q: %s: new UIDs: %s", r.name, which, why)
		r.report.Notes = append(r.report.Notes, line)
		if r.Announce != nil {
			r.problems.Lock()
			r.Announce(line)
			r.problems.Unlock()
		}
	}
	return nil
}

// aside is where refused messages of one user go.
type aside struct {
	account Account
	boxes   map[string]*tally // what the folders hold already, from an earlier restore
}

// refused names a message that the destination will not take, and puts it
// aside where there is a place for that.
func (r *run) refused(ctx context.Context, j *job, d Delivery, why *Refusal) error {
	e := j.item
	p := &Problem{User: r.name, Folder: e.Folder, UID: e.UID, Key: e.Key, Content: e.Content, Err: why}
	r.progress(e)
	if r.Refused == nil {
		r.report.Failed++
		r.report.Refused++
		p.Err = fmt.Errorf("%w; it stays in the backup (salvor show --raw gives it, restore --refused eml:DIR puts such messages aside)", why)
		r.problem(p)
		return r.decided(ctx, e, RefusedThere, why)
	}
	if err := r.putAside(ctx, j.box, d); err != nil {
		return r.destination(ctx, j.box.name, fmt.Errorf("%s, for what was refused: %w", r.RefusedTo, err))
	}
	r.report.PutAside++
	p.Err = fmt.Errorf("%w; put into %s instead", why, r.RefusedTo)
	r.problem(p)
	return r.decided(ctx, e, PutAside, p.Err)
}

func (r *run) putAside(ctx context.Context, b *box, d Delivery) error {
	if r.aside == nil {
		account, err := r.Refused.Account(ctx, r.name)
		if err != nil {
			return err
		}
		r.aside = &aside{account: account, boxes: map[string]*tally{}}
	}
	there := r.aside.boxes[b.name]
	if there == nil {
		there = &tally{}
		if err := r.aside.account.Mailbox(ctx, Mailbox{User: r.name, Name: b.name}); err != nil {
			return err
		}
		if err := r.aside.account.Present(ctx, b.name, there.add); err != nil {
			return err
		}
		there.seal()
		r.aside.boxes[b.name] = there
	}
	if there.take(d.Content) {
		return nil
	}
	_, err := r.aside.account.Add(ctx, d)
	return err
}

// close makes durable what was put aside; a is nil when nothing was.
func (a *aside) close(ctx context.Context) error {
	if a == nil {
		return nil
	}
	return a.account.Close(ctx)
}
