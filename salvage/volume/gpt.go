package volume

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
)

// A gptHeader is what matters of a GPT's header (UEFI specification 2.10, table 5-5).
type gptHeader struct {
	sector    int64 // in bytes
	at        int64 // in bytes
	backup    int64 // where it says that the other header stands, in sectors
	entries   int64 // in bytes
	count     int64
	entrySize int64
	crc       uint32 // of the entries
	proved    bool   // by its checksum
}

const (
	gptHeaderSize = 92
	mostGPTBytes  = 4 << 20 // of entries
)

// gptRAID is A19D880F-05FC-4D3B-A006-743F0F84911E, the type of members of Linux's software
// RAID, as it stands on a disk: the first three groups begin with their last byte.
const gptRAID = "\x0F\x88\x9D\xA1\xFC\x05\x3B\x4D\xA0\x06\x74\x3F\x0F\x84\x91\x1E"

// readGPT reads the GUID partition table from its first or its second header,
// whichever is proved better by the checksums. It is nil where there is neither.
func readGPT(v Volume, sizes []int64) (best *table, err error) {
	for _, sector := range sizes {
		places := []int64{sector, v.Size()/sector*sector - sector}
		for i := 0; i < len(places); i++ {
			h, err := readGPTHeader(v, places[i], sector)
			if err != nil {
				return nil, err
			}
			if h == nil {
				continue
			}
			if off := h.backup * sector; h.proved && !slices.Contains(places, off) {
				places = append(places, off)
			}
			t, proved, err := h.table(v)
			if err != nil {
				return nil, err
			}
			if proved && h.proved {
				if places[i] != sector {
					t.notes = append(t.notes, fmt.Sprintf("%s: the GPT at its beginning is damaged; the copy at %d is taken", v.Name(), places[i]))
				}
				return t, nil
			}
			if best == nil && (proved || h.proved) {
				best = t
			}
		}
	}
	if best != nil {
		best.notes = append(best.notes, fmt.Sprintf("%s: both copies of its GPT are damaged; what makes sense of it is taken: compare the partitions with what you know of the disk", v.Name()))
	}
	return best, nil
}

// readGPTHeader gives nil where there is none that could be used.
func readGPTHeader(v Volume, at, sector int64) (*gptHeader, error) {
	if at < sector {
		return nil, nil
	}
	b, _, err := readExact(v, at, sector)
	if err != nil || b == nil || string(b[:8]) != "EFI PART" {
		return nil, err
	}
	le := binary.LittleEndian
	h := &gptHeader{sector: sector, at: at, count: int64(le.Uint32(b[80:])), entrySize: int64(le.Uint32(b[84:])), crc: le.Uint32(b[88:])}
	entries, backup, own := le.Uint64(b[72:]), le.Uint64(b[32:]), le.Uint64(b[24:])
	if size := int64(le.Uint32(b[12:])); size >= gptHeaderSize && size <= sector {
		sum := le.Uint32(b[16:])
		clear(b[16:20])
		h.proved = crc32.ChecksumIEEE(b[:size]) == sum && own == uint64(at/sector)
	}
	most := uint64(largestPartition / sector)
	if entries > most || h.count == 0 || h.entrySize < 128 || h.entrySize > 4096 || h.count*h.entrySize > mostGPTBytes {
		return nil, nil
	}
	if h.entries = int64(entries) * sector; backup <= most {
		h.backup = int64(backup)
	}
	return h, nil
}

// table reads the entries. proved tells whether their checksum is right.
func (h *gptHeader) table(v Volume) (t *table, proved bool, err error) {
	t = &table{kind: "GPT"}
	n := min(h.count*h.entrySize, max(0, v.Size()-h.entries))
	b, known, err := readExact(v, h.entries, n)
	if err != nil || b == nil {
		return t, false, err
	}
	if !known {
		t.notes = append(t.notes, fmt.Sprintf("%s: a part of its partition table at %d is unreadable; partitions may be missing", v.Name(), h.entries))
	}
	proved = known && n == h.count*h.entrySize && crc32.ChecksumIEEE(b) == h.crc
	for i := int64(0); i < int64(len(b))/h.entrySize; i++ {
		e := b[i*h.entrySize:][:128]
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if allZero(e[:16]) {
			continue
		}
		if len(t.parts) == mostPartitions {
			t.notes = append(t.notes, fmt.Sprintf("%s: its table holds more than %d partitions; the others are left out", v.Name(), mostPartitions))
			break
		}
		// Nonsense becomes an empty range, which is told and left out.
		r := Range{}
		if most := uint64(math.MaxInt64 / h.sector); first <= last && last < most {
			r = Range{int64(first) * h.sector, int64(last-first+1) * h.sector}
		}
		t.parts = append(t.parts, partition{int(i + 1), r, string(e[:16]) == gptRAID})
	}
	return t, proved, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
