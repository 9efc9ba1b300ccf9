package salvage

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"salvor/salvage/volume"
)

// A mark tells one volume from another of the same name and size: the SHA-256 of what
// decides how all sources are read, and a part of that of each sample, zeros where
// a sample cannot be read.
const (
	markSamples = 256
	sampleBytes = 4096
	sampleSum   = 8
)

// fingerprint makes a volume's mark. The places are the same for all volumes of one
// size, spread over all of it, and at most 1 MiB together.
func fingerprint(v volume.Volume, mark []byte) ([]byte, error) {
	head := sha256.Sum256(mark)
	out := head[:]
	spread := max(v.Size()/markSamples, sampleBytes)
	places := rand.New(rand.NewPCG(uint64(v.Size()), markSamples))
	buf := make([]byte, sampleBytes)
	for i := range int64(markSamples) {
		at := i * spread
		if at >= v.Size() {
			break
		}
		if i > 0 {
			at += places.Int64N(spread-sampleBytes+1) &^ (sampleBytes - 1)
		}
		b := buf[:min(sampleBytes, v.Size()-at)]
		unknown, err := v.ReadAt(b, at)
		if err != nil {
			return nil, err
		}
		var sum [sha256.Size]byte
		if len(unknown) == 0 {
			sum = sha256.Sum256(b)
		}
		out = append(out, sum[:sampleSum]...)
	}
	return out, nil
}

// sameMark compares two marks. A sample that could not be read one of the times says
// nothing: a sector that fails now and then does not make a disk another one.
func sameMark(a, b []byte) bool {
	if len(a) != len(b) || len(a) < sha256.Size || !bytes.Equal(a[:sha256.Size], b[:sha256.Size]) {
		return false
	}
	var none [sampleSum]byte
	for at := sha256.Size; at < len(a); at += sampleSum {
		x, y := a[at:at+sampleSum], b[at:at+sampleSum]
		if !bytes.Equal(x, y) && !bytes.Equal(x, none[:]) && !bytes.Equal(y, none[:]) {
			return false
		}
	}
	return true
}

// changedSince says of which image files the notes were made before somebody wrote to
// them or put others in their places. They read the same wherever samples were
// taken, as they do after a copy or a touch, and nearly do where a copy
// was completed: hours of work are not thrown away for that, but it is told.
func (e *engine) changedSince(noted []byte, now []volume.Stamp) {
	var then []volume.Stamp
	if json.Unmarshal(noted, &then) != nil {
		return
	}
	for _, s := range now {
		i := slices.IndexFunc(then, func(o volume.Stamp) bool { return o.Path == s.Path })
		if i < 0 || then[i] == s {
			continue
		}
		what := fmt.Sprintf("was written to (it was of %s, and is of %s)", day(then[i]), day(s))
		if then[i].Inode != s.Inode {
			what = "was replaced by another file"
		}
		line := fmt.Sprintf("%s %s since it was looked through; samples of it are as they were, so what was noted then is used: --anew reads all of it again", s.Path, what)
		if !slices.Contains(e.report.Notes, line) {
			e.report.Notes = append(e.report.Notes, line)
		}
	}
}

func day(s volume.Stamp) string { return time.Unix(0, s.Modified).UTC().Format(time.RFC3339) }
