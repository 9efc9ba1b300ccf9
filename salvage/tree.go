package salvage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"salvor/salvage/carve"
	"salvor/salvage/tree"
	"salvor/salvage/volume"
)

// tree looks through a directory of files. It has no checkpoint: what is known by
// its bytes already is not kept again.
func (e *engine) tree(ctx context.Context, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	source := e.report.source(dir, 0)
	source.System = "directory"
	e.o.Progress.Stage(dir)
	return tree.Walk(ctx, root, tree.Options{}, func(it tree.Item) error {
		if it.Err != nil {
			if line := fmt.Sprintf("%s/%s: %v", dir, it.Path, it.Err); errors.Is(it.Err, tree.ErrOtherDevice) {
				e.report.Notes = append(e.report.Notes, line)
			} else {
				e.trouble(source, line)
			}
			return nil
		}
		if it.Again || it.Size == 0 || it.Size > LongestMessage {
			return nil // an empty file is no mail, and Dovecot marks every folder with one
		}
		source.Files++
		source.Size += it.Size
		e.o.Progress.Add(1, it.Size)
		return e.item(ctx, dir, source, &it)
	})
}

// trouble counts what could not be read of a tree, and tells the first ones.
func (e *engine) trouble(s *Source, line string) {
	e.report.UnreadFiles++
	if s.UnreadFiles++; s.UnreadFiles <= mostNotes {
		e.report.Notes = append(e.report.Notes, line)
	}
}

const mostNotes = 20

// item looks at one file.
func (e *engine) item(ctx context.Context, dir string, source *Source, it *tree.Item) (err error) {
	f, err := it.Open()
	if err != nil {
		e.trouble(source, fmt.Sprintf("%s/%s: %v", dir, it.Path, err))
		return nil
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	holes, err := tree.Holes(f, it.Size)
	if err != nil {
		e.trouble(source, fmt.Sprintf("%s/%s: %v", dir, it.Path, err))
		return nil
	}
	v, err := volume.New(it.Path, f, it.Size, volume.Options{})
	if err != nil {
		return err
	}
	o := &object{size: it.Size, from: func() (io.Reader, func() []volume.Range, error) {
		var missing []volume.Range
		r := &reading{v: v, missing: &missing}
		return r, func() []volume.Range { return volume.Normalise(append(missing, holes...)) }, nil
	}}
	o.message = message{source: dir, how: howTree, paths: []string{"/" + it.Path}, inode: it.Inode, block: treeBlock, date: it.ModTime, current: true, sized: true, live: true, named: true}
	defer o.drop()
	head, err := o.head()
	if err != nil {
		return err
	}
	if _, ok := carve.Head(head); !ok && !singular(o.paths) {
		return nil
	}
	_, err = e.takeObject(ctx, o)
	return err
}

// reading reads a volume from its beginning to its end.
type reading struct {
	v       volume.Volume
	at      int64
	missing *[]volume.Range
}

func (r *reading) Read(p []byte) (int, error) {
	if r.at >= r.v.Size() {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.v.Size()-r.at)]
	unknown, err := r.v.ReadAt(p, r.at)
	if err != nil {
		return 0, err
	}
	*r.missing = append(*r.missing, unknown...)
	r.at += int64(len(p))
	return len(p), nil
}

// howTree is how a file of a tree was found.
const howTree = "directory"

// treeBlock is how large the blocks of a tree's file system mostly are, in bytes.
const treeBlock = 4096
