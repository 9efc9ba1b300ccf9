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
	if spec.RAID == "" || spec.RAID == "auto" {
		if disks, err = s.partitioned(ctx, disks); err != nil {
			return s, err
		}
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
