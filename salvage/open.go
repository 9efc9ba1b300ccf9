package salvage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"salvor/salvage/raid"
	"salvor/salvage/volume"
)

// Spec says what to salvage from, in an operator's words.
type Spec struct {
	// Sources are paths of images, block devices and directories.
	Sources []string
	// Maps are ddrescue's map files, by source. NoMaps: a map that lies beside an
	// image is not used unasked.
	Maps   map[string]string
	NoMaps bool
	// What is known of the array that the sources are members of; RAID "none": they
	// are of none. See raid.Options.
	RAID       string
	Chunk      int64 // bytes
	Layout     string
	Order      []string // of sources; "missing" for one that is not there
	DataOffset int64    // bytes
}

// Sources are what a Spec came to.
type Sources struct {
	Volumes []volume.Volume // everything that may hold a file system
	Trees   []string        // directories
	Names   []string        // as they were given
	Size    int64           // of all disks, bytes
	// Mark is the SHA-256 of what decides how the sources are read, beside their own
	// bytes: the maps, and what is said of the array.
	Mark []byte
	// Notes say how the sources were understood, a line each.
	Notes []string

	opened []volume.Volume
	mark   hash.Hash
}

// Close closes all volumes.
func (s *Sources) Close() error {
	var errs []error
	for _, v := range s.opened {
		errs = append(errs, v.Close())
	}
	return errors.Join(errs...)
}

func (s *Sources) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Holds gives the source in which a directory lies, or would lie: nothing may be
// written there. "": in none.
func (s *Sources) Holds(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return "", err
		}
		return s.holds(dir, info)
	}
}

func (s *Sources) holds(dir string, info os.FileInfo) (string, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	for _, name := range s.Names {
		source, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		if device, is := source.Sys().(*syscall.Stat_t); ok && is && source.Mode()&fs.ModeDevice != 0 && device.Rdev == st.Dev {
			return name, nil
		}
	}
	for {
		for _, tree := range s.Trees {
			source, err := os.Stat(tree)
			if err != nil {
				return "", err
			}
			if os.SameFile(source, info) {
				return tree, nil
			}
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || real == "/" {
			return "", err
		}
		dir = filepath.Dir(real)
		if info, err = os.Stat(dir); err != nil {
			return "", err
		}
	}
}

// Open opens all sources for reading: disks and images, arrays of them, and what
// partitions and logical volumes are in these.
func Open(ctx context.Context, spec Spec) (s *Sources, err error) {
	s = &Sources{Names: spec.Sources, mark: sha256.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	var disks []volume.Volume
	given := map[string]os.FileInfo{}
	for _, path := range spec.Sources {
		info, err := os.Stat(path)
		if err != nil {
			return s, err
		}
		if twin := sameFile(given, info); twin != "" {
			s.note("%s was given twice (as %s): it is read once", path, twin)
			continue
		}
		given[path] = info
		if info.IsDir() {
			s.Trees = append(s.Trees, path)
			continue
		}
		if is, _ := isMap(path); is && len(spec.Sources) > 1 {
			s.note("%s is a map of ddrescue's, and no source: it is left out", path)
			continue
		}
		v, err := s.disk(spec, path)
		if err != nil {
			return s, err
		}
		disks = append(disks, v)
		s.Size += v.Size()
	}
	if err := s.checkMaps(spec); err != nil {
		return s, err
	}
	if disks, err = s.arrays(ctx, spec, disks); err != nil {
		return s, err
	}
	parts, notes := volume.Parts(disks)
	s.Notes = append(s.Notes, notes...)
	if spec.RAID == "" || spec.RAID == "auto" {
		before := len(parts)
		if parts, err = s.declared(ctx, parts); err != nil { // members may be partitions, too
			return s, err
		}
		if len(parts) < before {
			parts, notes = volume.Parts(parts)
			s.Notes = append(s.Notes, notes...)
		}
	}
	if s.Volumes = parts; spec.RAID != "none" { // a member of an array may begin as anything does
		if s.Volumes, err = s.moved(ctx, parts); err != nil {
			return s, err
		}
	}
	said := map[string]bool{}
	s.Notes = slices.DeleteFunc(s.Notes, func(n string) bool {
		again := said[n]
		said[n] = true
		return again
	})
	fmt.Fprintf(s.mark, "%q %d %q %q %d", spec.RAID, spec.Chunk, spec.Layout, spec.Order, spec.DataOffset)
	s.Mark = s.mark.Sum(nil)
	return s, nil
}

// sameFile gives the path under which a file was given before.
func sameFile(given map[string]os.FileInfo, info os.FileInfo) string {
	for path, other := range given {
		if os.SameFile(info, other) {
			return path
		}
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, other := range list {
		if other == s {
			return true
		}
	}
	return false
}

func (s *Sources) disk(spec Spec, path string) (volume.Volume, error) {
	file := s.mapOf(spec, path)
	v, err := volume.Open(path, volume.Options{Map: file})
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, v)
	s.Notes = append(s.Notes, volume.Notes(v)...)
	return v, s.markMap(path, file)
}

// arrays puts together what the operator says is an array, and what says so itself.
func (s *Sources) arrays(ctx context.Context, spec Spec, disks []volume.Volume) ([]volume.Volume, error) {
	switch spec.RAID {
	case "none":
		return disks, nil
	case "", "auto":
		declared, err := s.declared(ctx, disks)
		if err != nil {
			return nil, err
		}
		return s.inferred(ctx, declared)
	}
	o, err := raidOptions(spec, disks)
	if err != nil {
		return nil, err
	}
	a, err := raid.Open(disks, o)
	if err != nil {
		return nil, err
	}
	return []volume.Volume{a}, s.tell(ctx, a)
}

// declared puts together the arrays whose members say what they are.
func (s *Sources) declared(ctx context.Context, disks []volume.Volume) ([]volume.Volume, error) {
	sets, out, notes := raid.Find(disks)
	s.Notes = append(s.Notes, notes...)
	for _, set := range sets {
		var members []volume.Volume
		for _, i := range set.Members {
			members = append(members, disks[i])
		}
		a, err := raid.Open(members, raid.Options{UseStale: true})
		if err != nil {
			s.note("%v; its members are read one by one", err)
			out = append(out, members...)
			continue
		}
		if err := s.tell(ctx, a); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// inferred puts disks that say nothing together, where they are of one size, not
// each complete in itself, and parity or content shows how. Otherwise they stay
// what they are.
func (s *Sources) inferred(ctx context.Context, disks []volume.Volume) ([]volume.Volume, error) {
	var loose, out []volume.Volume
	alone := 0
	for _, v := range disks {
		if _, ok := v.(*raid.Array); ok {
			out = append(out, v)
			continue
		}
		loose = append(loose, v)
		is, err := standsAlone(ctx, v)
		if err != nil {
			return nil, err
		}
		if is {
			alone++
		}
	}
	if len(loose) < 2 || alone > 0 || !alike(loose) {
		return disks, nil
	}
	a, err := raid.Open(loose, raid.Options{UseStale: true})
	if errors.Is(err, raid.ErrUnsure) {
		s.note("%v; the disks are read one by one (--raid none does so without trying)", err)
		return disks, nil
	}
	if err != nil {
		return nil, err
	}
	return append(out, a), s.tell(ctx, a)
}

// standsAlone tells whether a disk holds something that fits on it: partitions, or
// a file system that does not claim to be larger. The first member of an array may
// begin as the whole array does.
func standsAlone(ctx context.Context, v volume.Volume) (bool, error) {
	parts, _ := volume.Partitions(v)
	fit := len(parts) > 0
	for _, p := range parts {
		unknown, err := p.ReadAt(make([]byte, 1), p.Size()-1)
		if err != nil {
			return false, err
		}
		fit = fit && len(unknown) == 0
	}
	if fit {
		return true, nil
	}
	return complete(ctx, v)
}

// alike tells whether disks are of one size, but for some MiB.
func alike(disks []volume.Volume) bool {
	least, most := disks[0].Size(), disks[0].Size()
	for _, v := range disks {
		least, most = min(least, v.Size()), max(most, v.Size())
	}
	return most-least <= max(16<<20, most/100)
}

func raidOptions(spec Spec, disks []volume.Volume) (o raid.Options, err error) {
	if o.Level, err = raid.ParseLevel(spec.RAID); err != nil {
		return o, err
	}
	o.UseStale = true
	o.Layout, o.Chunk = raid.Layout(spec.Layout), spec.Chunk
	if spec.DataOffset > 0 {
		o.DataOffset = []int64{spec.DataOffset}
	}
	for _, name := range spec.Order {
		at := raid.Missing
		for i, v := range disks {
			if v.Name() == name {
				at = i
			}
		}
		if at == raid.Missing && name != "missing" {
			return o, wrong("the order of the array: there is no source %q; name sources, or missing", name)
		}
		o.Order = append(o.Order, at)
	}
	return o, nil
}

// tell says what an array was understood to be, and where a sample of it contradicts
// itself: what of that is right nobody can tell but by the mail's own hashes.
func (s *Sources) tell(ctx context.Context, a *raid.Array) error {
	r := a.Report()
	s.note("%s: RAID %v, %d members, %d missing", a.Name(), r.Level, len(r.Slots), r.Missing())
	s.Notes = append(append(s.Notes, r.Inferred...), r.Notes...)
	for _, slot := range r.Slots {
		for _, m := range slot.Members {
			if m.Stale {
				s.note("%s is stale: the array went on without it; it is used only where nothing better is left", m.Name)
			}
		}
	}
	for _, l := range r.LeftOut {
		s.note("%s is not used: %s", l.Name, l.Why)
	}
	c, err := a.Check(ctx, raid.CheckOptions{Samples: arraySamples})
	if c.Contradicted == 0 || err != nil {
		return err
	}
	where := ""
	for _, x := range c.Contradictions[:min(len(c.Contradictions), 3)] {
		where += fmt.Sprintf(", %d-%d", x.Range.Off, x.Range.End()-1)
		if x.Slot >= 0 {
			where += fmt.Sprintf(" (member %d is wrong)", x.Slot)
		}
	}
	s.note("%s contradicts itself: of %d bytes of each member that were compared, %d do not fit to the others'%s", a.Name(), c.Bytes, c.Contradicted, where)
	return nil
}

// arraySamples is how many stretches of an array are compared when it is opened: some
// MiB of each member.
const arraySamples = 32
