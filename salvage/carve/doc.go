// Package carve finds mail by its content, where no file system explains the
// blocks of a volume.
//
// Head tells whether a block looks like the beginning of mail; it is cheap enough
// to be asked of every block. Follow reads on from there and says where the
// message most likely ends, why, and where it stops fitting. Check judges bytes
// that claim to be a whole message. Expand takes messages out of what holds them
// (compressed files, dbox, mbox), and Headers reads what tells whose they are.
//
// What content alone can prove is little, and the words say so: Whole means that
// the message's own structure vouches for its end and for every place at which one
// block follows another; Plausible that nothing speaks against it. Only a hash
// proves more, and that is not known here.
//
// Everything is hostile: depth, lengths and amounts are bounded, memory is a few
// hundred KiB for each call, and nothing is written. Package salvage calls this
// one; it knows volumes and mail, and no file systems.
package carve

import (
	"errors"

	"salvor/salvage/volume"
)

// Blocks is what Follow reads: a volume.Volume is one.
type Blocks interface {
	Size() int64
	ReadAt(p []byte, off int64) (unknown []volume.Range, err error)
}

// Kind is what stands at a head.
type Kind string

// The kinds of heads.
const (
	Header Kind = "header" // a message that begins with its header
	Mbox   Kind = "mbox"   // a From_ line: one message or many
	Dbox   Kind = "dbox"   // a file of Dovecot's sdbox or mdbox, or one message's record of it
	Gzip   Kind = "gzip"   // compressed files that hold mail
	Bzip2  Kind = "bzip2"
	Zstd   Kind = "zstd"
)

// Verdict is how whole a message looks.
type Verdict string

// The verdicts, best first.
const (
	Whole     Verdict = "whole"     // its structure closes, and vouches for what is between
	Plausible Verdict = "plausible" // nothing speaks against it, and nothing proves it
	Partial   Verdict = "partial"   // header and text are whole, and something is missing of an attachment
	Broken    Verdict = "broken"    // known not to be whole
	Part      Verdict = "part"      // it belongs to the message that begins before it
	NotMail   Verdict = "not_mail"  // it does not begin as a message does
)

// Errors that end the reading of what Expand takes out of its wrapping.
var (
	// ErrDamaged: the wrapping is broken here; what came before is good.
	ErrDamaged = errors.New("it breaks off or is damaged")
	// ErrLimit: it becomes longer than it may be.
	ErrLimit = errors.New("it becomes longer than is allowed for one object")
)

// sector is the smallest unit in which a file's tail is filled with zeros.
const sector = 512
