// Package diskimage gives tests disks to salvage: images of ext4 and XFS with the
// mail of a small server on them, and the same images damaged in every way that
// salvage has to answer to. What was on a disk is kept as digests, so that
// whatever comes back can be judged.
//
// An image is either plain (mke2fs -d, mkfs.xfs -p: no root needed, nothing in
// pieces) or aged: written through a mount as a mail store writes (stage file,
// blocks of 32 KiB, sync, rename, four deliveries at a time), with mail expunged
// and the room filled again, so that large messages lie in pieces. Build and
// Make make it; Fill makes one of any directory; Mount gives a server a place on
// it. Damage makes a damaged copy, and knows what can still be there (Limit):
// every block of the message stands somewhere on the device. Score compares what
// a salvage found with that. Index is what a surviving index knows of the mail.
//
// The mail, the places where it is filed and the damages repeat with the seed. Where
// the kernel puts an aged image's files does not.
//
// It needs e2fsprogs and xfsprogs, and root for everything that mounts. It reads
// images with small readers of its own, written against the formats and not
// against the code that it tests. Only tests and internal/bench import it.
package diskimage
