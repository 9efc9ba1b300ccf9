package chunk

import (
	"errors"
	"fmt"
	"sync"
)

// DamageError says that what is stored of a message is not what was stored:
// the recipe or a part of it is damaged, missing or another one.
type DamageError struct {
	Message ID     // SHA-256 of the wire form that was expected
	Part    ID     // the part to blame; zero when it is the recipe or unknown
	What    string // what was expected and found
	Err     error  // the cause, when there is one
}

// Error names the message and, where it is known, the part.
func (e *DamageError) Error() string {
	s := "message " + e.Message.String()
	if !e.Part.IsZero() {
		s += ": part " + e.Part.String()
	}
	s += ": " + e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// maxPrealloc is how much memory a declared size gets on trust.
const maxPrealloc = 32 << 20

var coders = sync.Pool{New: func() any { return new(base64Coder) }}

// Rebuild appends the LF form to dst. It asks fetch for the bytes of each part
// once per use, in order; they are used only until the next call. An error of
// fetch comes back as it is; a part of another length than the recipe says
// is a *DamageError. Nothing is compared with a hash here: the caller does
// that with the whole, as RebuildMessage does.
func (r *Recipe) Rebuild(dst []byte, fetch func(PartRef) ([]byte, error)) ([]byte, error) {
	if free := int64(cap(dst) - len(dst)); free < r.size {
		dst = append(make([]byte, 0, int64(len(dst))+min(r.size, maxPrealloc)), dst...)
	}
	coder := coders.Get().(*base64Coder)
	defer coders.Put(coder)
	err := r.walk(coder, fetch, func(b []byte) bool {
		dst = append(dst, b...)
		return true
	})
	if err != nil {
		return nil, err
	}
	return dst, nil
}

// walk yields the LF form piece by piece, until yield says stop.
func (r *Recipe) walk(coder *base64Coder, fetch func(PartRef) ([]byte, error), yield func([]byte) bool) error {
	skeleton := r.skeleton
	for i := range r.segments {
		s := &r.segments[i]
		if s.kind == segmentSkeleton {
			if !yield(skeleton[:s.size]) {
				return nil
			}
			skeleton = skeleton[s.size:]
			continue
		}
		part, err := fetch(PartRef{s.id, s.size})
		if err != nil {
			return err
		}
		if int64(len(part)) != s.size {
			return &DamageError{Part: s.id, What: fmt.Sprintf("%d bytes, want %d", len(part), s.size)}
		}
		more := true
		if s.kind == segmentRaw {
			more = yield(part)
		} else {
			more = coder.encode(part, int(s.width), yield)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// RebuildMessage gives the LF form of the message id from the bytes of its
// message chunk and its parts, proven by the SHA-256 of its wire form. It is
// written to dst, which may be nil, where that has room. An error of fetch
// comes back wrapped; everything else is a *DamageError.
func RebuildMessage(dst []byte, id ID, recipe []byte, fetch func(PartRef) ([]byte, error)) (lf []byte, err error) {
	return RebuildProven(dst, id, recipe, fetch, func([]byte) bool { return false })
}

// RebuildProven is RebuildMessage for callers who know another hash of the
// message, that of its stored bytes: making and hashing the wire form takes
// longer. The LF form is right when proven, called once, says so; else it is
// proven as RebuildMessage does.
func RebuildProven(dst []byte, id ID, recipe []byte, fetch func(PartRef) ([]byte, error), proven func(lf []byte) bool) (lf []byte, err error) {
	r, err := ParseRecipe(recipe)
	if err != nil {
		return nil, &DamageError{Message: id, What: "unreadable recipe", Err: err}
	}
	lf, err = r.Rebuild(dst[:0], fetch)
	var damage *DamageError
	if errors.As(err, &damage) && damage.Message.IsZero() {
		return nil, &DamageError{Message: id, Part: damage.Part, What: damage.What, Err: damage.Err}
	}
	if err != nil {
		return nil, fmt.Errorf("rebuild message %s: %w", id, err)
	}
	if proven(lf) {
		return lf, nil
	}
	if got := wireID(lf); got != id {
		return nil, r.blame(id, got, fetch)
	}
	return lf, nil
}

// blame looks for the part that made a rebuilt message wrong.
func (r *Recipe) blame(id, got ID, fetch func(PartRef) ([]byte, error)) error {
	for _, ref := range r.Parts() {
		part, err := fetch(ref)
		if err != nil {
			return fmt.Errorf("rebuild message %s: %w", id, err)
		}
		if sum := Sum(part); sum != ref.ID {
			return &DamageError{Message: id, Part: ref.ID, What: fmt.Sprintf("SHA-256 is %s", sum)}
		}
	}
	return &DamageError{Message: id, What: fmt.Sprintf("SHA-256 of the rebuilt message is %s", got)}
}
