package index

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"testing"
	"time"

	"salvor/chunk"
)

// No server that the tests can run writes versions 18 to 20. Their files are
// built here by another way than the decoder's: each field at the offset which
// Cyrus's sources give it (MAIL-SERVERS.md section 2, imap/index_file.c).

// at puts a number of 4 or 8 bytes at an offset.
type at struct {
	offset, width int
	n             uint64
}

func place(b []byte, fields []at) {
	for _, f := range fields {
		if f.width == 4 {
			binary.BigEndian.PutUint32(b[f.offset:], uint32(f.n))
		} else {
			binary.BigEndian.PutUint64(b[f.offset:], f.n)
		}
	}
}

func seal(b []byte) { binary.BigEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4])) }

// build makes a file of one header and one record.
func build(version, headerSize, recordSize int, header, record []at) []byte {
	b := make([]byte, headerSize+recordSize)
	place(b, []at{{0, 4, 7}, {8, 4, uint64(version)}, {12, 4, uint64(headerSize)}, {16, 4, uint64(recordSize)}, {20, 4, 1}})
	place(b, header)
	seal(b[:headerSize])
	r := b[headerSize:]
	place(r, record)
	copy(r[60:], guidBytes[:])
	seal(r)
	return b
}

var guidBytes = chunk.SHA1{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

const second = 1e9

// Times are 1,000,000 s plus the number of their field, in nanoseconds from
// version 20 on.
func stamp(n int) time.Time { return time.Unix(1_000_000+int64(n), 0).UTC() }

var header17 = []at{
	{24, 4, 1000001}, {28, 4, 102}, {32, 8, 103}, {40, 4, 1000004}, {44, 4, 105}, {48, 4, 106}, {52, 4, 107}, {56, 4, 108},
	{60, 4, 110}, {64, 4, 111}, {68, 8, 112}, {76, 8, 113}, {84, 4, 109}, {88, 4, 1000014}, {92, 4, 1000015}, {96, 4, 116}, {100, 4, 117},
	{104, 4, 118}, {108, 4, 1000019}, {112, 4, 1000020}, {116, 4, 121}, {120, 4, 122}, {124, 4, 123}, {128, 8, 124}, {136, 4, 1000025},
}

var header18 = append(header17[:len(header17):len(header17)], at{140, 8, 126}, at{148, 8, 127})

var header19 = []at{
	{24, 4, 1000001}, {28, 4, 102}, {32, 8, 103}, {40, 4, 1000004}, {44, 4, 105}, {48, 4, 106}, {52, 4, 107}, {56, 4, 108},
	{60, 4, 109}, {64, 4, 110}, {68, 4, 111}, {72, 8, 112}, {80, 8, 113}, {88, 4, 1000014}, {92, 4, 1000015}, {96, 4, 116}, {100, 4, 117},
	{104, 4, 118}, {108, 4, 1000019}, {112, 4, 1000020}, {116, 4, 121}, {120, 4, 122}, {124, 4, 123}, {128, 8, 124},
	{136, 8, 126}, {144, 8, 127}, {152, 4, 1000025},
}

var header20 = []at{
	{24, 8, 1000001 * second}, {32, 8, 103}, {40, 8, 1000004 * second}, {48, 4, 106}, {52, 4, 107}, {56, 4, 108}, {60, 4, 109}, {64, 4, 110},
	{68, 4, 111}, {72, 8, 112}, {80, 8, 113}, {88, 4, 102}, {92, 4, 105}, {96, 4, 116}, {100, 4, 117}, {104, 8, 1000019 * second},
	{112, 8, 1000020 * second}, {120, 4, 122}, {124, 4, 123}, {128, 8, 124}, {136, 8, 126}, {144, 8, 127}, {152, 8, 121},
	{160, 8, 1000025 * second}, {168, 8, 1000014 * second}, {176, 8, 1000015 * second}, {184, 4, 118},
}

var record16 = []at{
	{0, 4, 201}, {4, 4, 1000002}, {8, 4, 1000003}, {12, 4, 204}, {16, 4, 205}, {20, 4, 1000006}, {24, 4, 207}, {28, 4, 1000008},
	{32, 4, 0xa0000011}, {36, 4, 1}, {40, 4, 2}, {44, 4, 4}, {48, 4, 8}, {52, 4, 1000010}, {56, 4, 0x0003000d}, {80, 8, 212},
	{88, 8, 213}, {96, 8, 214}, {104, 4, 215},
}

var record20 = []at{
	{0, 4, 201}, {4, 4, 207}, {8, 8, 1000002 * second}, {16, 8, 1000003 * second}, {24, 8, 204}, {32, 4, 205}, {36, 4, 0xa0000011},
	{40, 4, 1}, {44, 4, 2}, {48, 4, 4}, {52, 4, 8}, {56, 4, 0x0003000d}, {80, 8, 212}, {88, 8, 213}, {96, 8, 214},
	{104, 8, 1000006 * second}, {112, 8, 1000008 * second}, {120, 8, 1000010 * second}, {128, 8, 216}, {136, 4, 215},
}

func TestBuiltVersions(t *testing.T) {
	for _, c := range []struct {
		name                    string
		version, header, record int
		fields, recordFields    []at
	}{
		{"17, of which there are real files", 17, 160, 112, header17, record16},
		{"18", 18, 160, 112, header18, record16},
		{"19", 19, 160, 112, header19, record16},
		{"19 with records of 20", 19, 160, 144, header19, record20},
		{"20", 20, 192, 144, header20, record20},
	} {
		b := build(c.version, c.header, c.record, c.fields, c.recordFields)
		f, err := Decode(b)
		if err != nil || len(f.Damage) > 0 || f.Len() != 1 {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := Header{
			Generation: 7, Version: uint32(c.version), StartOffset: uint32(c.header), RecordSize: uint32(c.record), NumRecords: 1,
			LastAppend: stamp(1), LastUID: 102, QuotaUsed: 103, Pop3LastLogin: stamp(4), UIDValidity: 105, Deleted: 106, Answered: 107,
			Flagged: 108, Exists: 109, Options: 110, LeakedCache: 111, HighestModSeq: 112, DeletedModSeq: 113, FirstExpunged: stamp(14),
			LastRepack: stamp(15), HeaderFileCRC: 116, SyncCRC: 117, RecentUID: 118, RecentTime: stamp(19), Pop3ShowAfter: stamp(20),
			QuotaAnnotationUsed: 121, SyncCRCAnnotations: 122, Unseen: 123, CreatedModSeq: 124, ChangesEpoch: stamp(25),
			QuotaDeleted: 126, QuotaExpunged: 127, Check: Good,
		}
		if c.version == 17 {
			want.QuotaDeleted, want.QuotaExpunged = 0, 0
		}
		if f.Header != want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, f.Header, want)
		}
		record := Record{
			UID: 201, InternalDate: stamp(2), SentDate: stamp(3), Size: 204, HeaderSize: 205, GMTime: stamp(6), CacheOffset: 3<<32 | 207,
			LastUpdated: stamp(8), System: Expunged | Archived | Seen | Answered, User: [4]uint32{1, 2, 4, 8}, SaveDate: stamp(10),
			CacheVersion: 13, GUID: guidBytes, ModSeq: 212, ThreadID: 213, CreatedModSeq: 214, CacheCRC: 215, Check: Good,
		}
		if c.record == 144 {
			record.BaseThreadID = 216
		}
		if got := f.Record(0); !reflect.DeepEqual(got, record) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, record)
		}
	}
}

// All that may be wrong with a file.
func TestDamage(t *testing.T) {
	whole := read0(t, fixtures, "v17", "cyrus.index")
	for _, c := range []struct {
		name           string
		change         func(b []byte) []byte
		records, whole int
		damage         string
	}{
		{"cut inside a record", func(b []byte) []byte { return b[:160+10*112+5] }, 10, 10, "it is cut off: 10 records of 25 are there"},
		{"header's checksum", func(b []byte) []byte { b[50] ^= 1; return b }, 25, 25, "the checksum of its header is wrong"},
		{"version", func(b []byte) []byte { b[11] = 99; return b }, 25, 25, "its header is lost"},
		{"nonsense of sizes", func(b []byte) []byte { copy(b[12:], "\xff\xff\xff\xff\xff\xff\xff\xff"); return b }, 25, 25, "its header is lost"},
		{"header overwritten", func(b []byte) []byte { clear(b[:160]); return b }, 25, 25, "its header is lost"},
		{"more records than there are", func(b []byte) []byte { b[20] = 0xff; seal(b[:160]); return b }, 25, 25, "it is cut off"},
		{"a record", func(b []byte) []byte { b[160+3*112+20] ^= 4; return b }, 25, 24, ""},
		{"a record being appended", func(b []byte) []byte { return append(b, make([]byte, 112)...) }, 25, 25, ""},
	} {
		f, err := Decode(c.change(bytes.Clone(whole)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		good := 0
		for i := range f.Len() {
			if r := f.Record(i); r.Check == Good {
				good++
			}
		}
		damage := ""
		if len(f.Damage) > 0 {
			damage = f.Damage[0]
		}
		if f.Len() != c.records || good != c.whole || !bytes.HasPrefix([]byte(damage), []byte(c.damage)) || (c.damage == "") != (damage == "") {
			t.Errorf("%s: %d records, %d whole, damage %q", c.name, f.Len(), good, f.Damage)
		}
	}
	for _, b := range [][]byte{nil, []byte("short"), bytes.Repeat([]byte{0}, 4096), bytes.Repeat([]byte("mail"), 1000)} {
		if _, err := Decode(b); err == nil {
			t.Errorf("%d bytes are taken for an index", len(b))
		}
	}
}

// A bit that flips anywhere in a file is noticed, and costs one record at
// the most.
func TestBitFlips(t *testing.T) {
	whole := read0(t, fixtures, "v17", "cyrus.index")
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		f, err := Decode(b)
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		bad := 0
		for i := range f.Len() {
			if f.Record(i).Check != Good || !f.Intact(i) {
				bad++
			}
		}
		inHeader := at < 160
		if f.Len() != 25 || inHeader != (len(f.Damage) > 0) || inHeader != (bad == 0) || bad > 1 {
			t.Errorf("byte %d: %d records, %d bad, damage %q", at, f.Len(), bad, f.Damage)
		}
	}
}

// Lookup finds what is there without reading the rest.
func TestLookup(t *testing.T) {
	whole := read0(t, fixtures, "v17", "cyrus.index")
	f, err := Decode(whole)
	if err != nil {
		t.Fatal(err)
	}
	for uid := range uint32(30) {
		r, found, err := Lookup(bytes.NewReader(whole), uid)
		if err != nil || found != (uid >= 1 && uid <= 25) || found && r != f.Record(int(uid)-1) {
			t.Errorf("UID %d: %v, %v, %+v", uid, found, err, r)
		}
	}
	for _, b := range [][]byte{nil, whole[:170], append(bytes.Clone(whole[:160+12*112]), make([]byte, 13*112)...)} {
		if _, found, err := Lookup(bytes.NewReader(b), 13); err == nil {
			t.Errorf("%d bytes: found %v without an error", len(b), found)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range []string{"v6", "v7", "v8", "v9", "v10", "v12", "v13", "v14", "v15", "v16", "v17"} {
		b := read0(f, fixtures, v, "cyrus.index")
		f.Add(b[:min(len(b), 500)])
	}
	f.Add(build(19, 160, 144, header19, record20))
	f.Add(build(20, 192, 144, header20, record20))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Decode(b)
		if err != nil {
			return
		}
		if file.Len()*60 > len(b) {
			t.Fatalf("%d records in %d bytes", file.Len(), len(b))
		}
		for i := range file.Len() {
			r := file.Record(i)
			if r.HasUserFlag(127) != (r.User[3]>>31 == 1) {
				t.Fatal("user flag 127")
			}
		}
	})
}
