package ext4

import (
	"encoding/binary"
	"errors"
)

const (
	valueMagic   = 0xEA020000
	systemPrefix = 7 // of an extended attribute's name: "system."
)

// inline is the content that stands in a record: in place of the block map, and on
// in the extended attribute system.data.
func (r record) inline() ([]byte, error) {
	size := r.size()
	if size > uint64(len(r))+mapLen {
		return nil, errors.New("inline data longer than its inode")
	}
	content := append([]byte(nil), r.blockMap()...)
	if size <= mapLen {
		return content[:size], nil
	}
	value, err := r.systemData()
	if err != nil {
		return nil, err
	}
	content = append(content, value...)
	if uint64(len(content)) < size {
		return nil, errors.New("inline data shorter than its size")
	}
	return content[:size], nil
}

// systemData is the value of the attribute system.data within a record.
func (r record) systemData() ([]byte, error) {
	none := errors.New("inline data without the attribute that holds its end")
	if len(r) <= oldInode+4 {
		return nil, none
	}
	at := oldInode + int(r.u16(oldInode))
	if at+4 > len(r) || r.u32(at) != valueMagic {
		return nil, none
	}
	base := r[at+4:] // offsets of values count from the first entry
	for e := base; len(e) >= 16 && binary.LittleEndian.Uint32(e) != 0; {
		nameLen := int(e[0])
		if 16+nameLen > len(e) {
			break
		}
		if e[1] == systemPrefix && string(e[16:16+nameLen]) == "data" {
			off, size := int(binary.LittleEndian.Uint16(e[2:])), binary.LittleEndian.Uint32(e[8:])
			if off > len(base) || uint64(size) > uint64(len(base)-off) {
				return nil, errors.New("inline data: its attribute reaches out of the inode")
			}
			return base[off:][:size], nil
		}
		e = e[min((16+nameLen+3)&^3, len(e)):]
	}
	return nil, none
}
