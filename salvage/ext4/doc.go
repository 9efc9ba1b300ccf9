// Package ext4 reads ext2, ext3 and ext4 on a damaged volume. It is a
// [fsys.System]: it finds inodes, directories and extent trees by their place,
// in the journal and by their shape alone, and never walks from the root.
//
// [Find] tells which superblocks there are, [Open] takes the best of them, and
// [Guess] works without any. [Locate] finds where on a volume file systems begin
// where nobody knows. What only a superblock or a group descriptor could
// say (which number an inode has) is learned from the inodes themselves where
// those are gone: see [FS.Learn].
//
// The layout is that of the kernel's Documentation/filesystems/ext4; the journal's
// is jbd2's. All offsets in the code are those tables'. Not read: quota files,
// orphan files, extended attributes other than the one that holds inline data,
// external journals, the content of encrypted and of compressed files.
//
// Everything that comes from the volume may be a lie. No record makes this
// package use more than a fixed amount of memory or of reads.
package ext4
