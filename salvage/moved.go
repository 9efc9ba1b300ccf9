package salvage

import (
	"context"
	"errors"
	"fmt"

	"salvor/salvage/ext4"
	"salvor/salvage/volume"
	"salvor/salvage/xfs"
)

// usualStarts is where file systems begin behind a partition table or the label of a
// logical volume that are gone: at any of the first MiB, or behind 63 sectors.
const usualStarts = 64

// moved looks for file systems that begin elsewhere than at the beginning of a
// volume that has none there: all places that an inode names are counted from there.
func (s *Sources) moved(ctx context.Context, parts []volume.Volume) (out []volume.Volume, err error) {
	for _, v := range parts {
		at, err := beginning(ctx, v)
		if err != nil {
			return nil, err
		}
		if at == 0 {
			out = append(out, v)
			continue
		}
		s.note("%s: a file system begins at byte %d; a partition table or a label before it seems to be gone", v.Name(), at)
		// What is before it is looked through as well, and found by content.
		out = append(out, volume.Section(v, at, v.Size()-at, fmt.Sprintf("%s from byte %d", v.Name(), at)),
			volume.Section(v, 0, at, fmt.Sprintf("%s up to byte %d", v.Name(), at)))
	}
	return out, nil
}

// beginning is where on a volume its ext file system begins, 0 if that is where it
// should, or if there is none. XFS finds its own beginning.
func beginning(ctx context.Context, v volume.Volume) (int64, error) {
	if _, err := ext4.Find(ctx, v); !errors.Is(err, ext4.ErrNoSuper) {
		return 0, err
	}
	if _, err := xfs.Open(ctx, v); !errors.Is(err, xfs.ErrNone) {
		return 0, err
	}
	starts := []int64{63 * 512}
	for n := int64(1); n <= usualStarts; n++ {
		starts = append(starts, n<<20)
	}
	magic := make([]byte, 2)
	for _, at := range starts {
		if at+4096 > v.Size() {
			continue
		}
		if _, err := v.ReadAt(magic, at+1024+56); err != nil {
			return 0, err
		}
		if magic[0] != 0x53 || magic[1] != 0xef {
			continue
		}
		supers, err := ext4.Find(ctx, volume.Section(v, at, v.Size()-at, v.Name()))
		if err == nil && supers[0].Group == 0 {
			return at, nil
		}
		if err != nil && !errors.Is(err, ext4.ErrNoSuper) {
			return 0, err
		}
	}
	return 0, nil
}
