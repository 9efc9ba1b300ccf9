package salvage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"salvor/salvage/volume"
)

// ErrSpec is wrapped where a Spec makes no sense: it names what is no source, or says
// of a source what is not said of its kind.
var ErrSpec = errors.New("what is said of the sources makes no sense")

// wrongSpec is an error that is ErrSpec, in words of its own.
type wrongSpec struct{ error }

func (wrongSpec) Is(target error) bool { return target == ErrSpec }

func wrong(format string, args ...any) error { return wrongSpec{fmt.Errorf(format, args...)} }

// checkMaps refuses maps of what is no image or device.
func (s *Sources) checkMaps(spec Spec) error {
	for name, file := range spec.Maps {
		switch {
		case contains(s.Trees, name):
			return wrong("the map %s of %s: this is a directory, and maps are of images; mounted from an image with holes, read the image with its map instead", file, name)
		case !contains(spec.Sources, name):
			return wrong("the map of %s: there is no such source", name)
		}
	}
	return nil
}

// mapOf gives the map to read a source by, as it was given or as it lies beside it;
// "": none.
func (s *Sources) mapOf(spec Spec, path string) string {
	if file, given := spec.Maps[path]; given || spec.NoMaps {
		return file
	}
	for _, file := range besides(path) {
		is, why := isMap(file)
		if is {
			s.note("%s: %s is used as the map of what could be read (--map none reads without)", path, file)
			return file
		}
		if why != nil {
			s.note("%s: %s lies beside it and is left alone, for it is no map of ddrescue's: %v", path, file, why)
		}
	}
	return ""
}

// besides gives the names under which ddrescue's users keep the map of an image.
func besides(path string) []string {
	names := []string{path + ".map", path + ".mapfile"}
	if i := strings.LastIndexByte(path, '.'); i > strings.LastIndexByte(path, '/') && path[i:] != ".map" {
		names = append(names, path[:i]+".map")
	}
	return names
}

// largestMap is the size of the largest file that is read to see whether it is a map,
// in bytes: those with as many blocks as are read are smaller.
const largestMap = 64 << 20

// isMap tells whether a file is ddrescue's map: it says so in its first line, or
// reads as one. Else it tells why not, nil where there is no such file. A map that says so
// and is broken is one all the same: without it, what could not be read would
// pass for zeros, so that opening it has to fail.
func isMap(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("it is no file")
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 256) // the file may be a whole disk, without any line's end
	n, err := readFull(f, head)
	if err != nil {
		return false, err
	}
	for _, line := range []string{"# Mapfile. Created by GNU ddrescue", "# Rescue Logfile. Created by GNU ddrescue"} {
		if bytes.HasPrefix(head[:n], []byte(line)) {
			return true, nil
		}
	}
	if info.Size() > largestMap {
		return false, errors.New("it is larger than any map")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	_, err = volume.ParseMap(f)
	return err == nil, err
}

// markMap takes a map into the mark.
func (s *Sources) markMap(path, file string) error {
	fmt.Fprintf(s.mark, "%q %q", path, file)
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(s.mark, f)
	return err
}
