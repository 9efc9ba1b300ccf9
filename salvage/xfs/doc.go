// Package xfs reads XFS, versions 4 and 5, on a volume that may be damaged. It
// implements fsys.System.
//
// Open finds the geometry: in the first superblock, in the copy that every
// allocation group begins with, or, where none is left, in the headers of the
// groups and in the places and numbers that version 5 writes into the groups' trees
// and into inodes. What it infers is put right by Learn after a sweep. Look
// recognises inodes, blocks of directories and leaves of block maps by their
// shape, wherever they stand and whether or not anything still points to them.
// Known reads the log, which holds copies of what was changed last.
//
// Three habits of XFS make it kind to rescuers. A removed file's inode keeps its
// extent records, only their count and the file's size are zeroed: such a File has
// Size -1. A removed directory entry keeps its name and the lower 32 bits of
// the inode's number. And version 5 writes owner, place and checksum into
// everything but data, so that a record vouches for itself.
//
// Not read: files on a realtime device (their extents are counted as lost), an
// external log, extended attributes, the targets of symbolic links.
//
// The format is that of "XFS Algorithms & Data Structures", 3rd edition; names of
// fields in comments (sb_agblocks, di_nextents) are those of the kernel.
package xfs
