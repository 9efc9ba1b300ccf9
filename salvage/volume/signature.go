package volume

import (
	"bytes"
	"encoding/binary"
)

// What a volume can begin with.
const (
	contentLVM  = "an LVM physical volume"
	contentLUKS = "a LUKS container"
	contentXFS  = "an XFS file system"
	contentFAT  = "a FAT, exFAT or NTFS file system"
)

// xfsIdentity is how many bytes all superblocks of an XFS have in common: magic, sizes
// and the UUID.
const xfsIdentity = 48

// signatures are what stands at fixed places of what a partition can hold. The
// places are those of the kernel's own structures: fs/ext4/ext4.h,
// fs/xfs/libxfs/xfs_format.h, fs/btrfs/ctree.h, drivers/md/md.c; LUKS and swap by
// their documentation.
var signatures = []struct {
	off  int64
	text string
	name string
}{
	{0, "XFSB", contentXFS},
	{extMagic, "\x53\xEF", "an ext2, ext3 or ext4 file system"},
	{64<<10 + 64, "_BHRfS_M", "a btrfs file system"},
	{64<<10 + 52, "ReIsEr", "a ReiserFS file system"},
	{0, "LUKS\xBA\xBE", contentLUKS},
	{0, "\xFC\x4E\x2B\xA9", "an md array's member"},
	{4096, "\xFC\x4E\x2B\xA9", "an md array's member"},
	{4086, "SWAPSPACE2", "swap space"},
	{512, "LABELONE", contentLVM},
	{0, "LABELONE", contentLVM},
	{1024, "LABELONE", contentLVM},
	{1536, "LABELONE", contentLVM},
}

// contentAt tells what begins at off of a volume, as far as its first blocks say
// it: "": nobody knows.
func contentAt(v Volume, off int64) (string, error) {
	var head [8 << 10]byte
	if _, err := v.ReadAt(head[:], off); err != nil {
		return "", err
	}
	for _, s := range signatures {
		b := head[:]
		if at := s.off; at < int64(len(head)) {
			b = head[at:]
		} else {
			var there [8]byte
			if _, err := v.ReadAt(there[:], off+at); err != nil {
				return "", err
			}
			b = there[:]
		}
		if bytes.HasPrefix(b, []byte(s.text)) && (s.off != extMagic || isFirstExt(head[:])) {
			return s.name, nil
		}
	}
	if isFATBoot(head[:512]) {
		return contentFAT, nil
	}
	return "", nil
}

// extMagic is where the magic number of ext2, ext3 and ext4 stands.
const extMagic = 1080

// isFirstExt looks whether the two bytes of the magic number mean something: the block
// size makes sense, and the superblock is the first one, and no copy in a later group.
func isFirstExt(head []byte) bool {
	return binary.LittleEndian.Uint32(head[1048:]) <= 6 && binary.LittleEndian.Uint16(head[1114:]) == 0
}

// isFATBoot knows the boot sectors that end in 55 AA like a partition table.
func isFATBoot(sector []byte) bool {
	if sector[0] != 0xEB && sector[0] != 0xE9 {
		return false
	}
	for off, text := range map[int]string{3: "NTFS    ", 54: "FAT1", 82: "FAT32   "} {
		if bytes.HasPrefix(sector[off:], []byte(text)) {
			return true
		}
	}
	return bytes.HasPrefix(sector[3:], []byte("EXFAT   "))
}
