package volume

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A Map is what a map file of GNU ddrescue says of a disk.
type Map struct {
	// Finished is what was read without error. Nothing else is known.
	Finished Ranges
	// End is where the last block of the map ends.
	End int64
	// Size is how large the disk is at least, in bytes, according to the map.
	Size int64
}

const (
	// mostBlocks is how many blocks a map may have: about 100 times what a bad disk
	// of 4 TB leaves.
	mostBlocks = 1 << 20
	// endless is the size from which on a map's end is no claim. ddrescue lets the
	// last block end at 2^63-1 while it does not know how large a disk is.
	endless = 1 << 60
)

// ParseMap reads a map file ("Mapfile structure" in GNU ddrescue's manual): comments,
// one line of status, which versions before 1.22 wrote without the pass, then a
// block a line as position, size and status, decimal, hexadecimal or octal. A
// block with the status + is finished. What two blocks tell differently is not, nor
// is what none tells. Errors name the line.
func ParseMap(r io.Reader) (*Map, error) {
	p := mapParser{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), 64<<10)
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := bytes.Cut(lines.Bytes(), []byte("#"))
		if err := p.line(strings.Fields(string(text))); err != nil {
			return nil, fmt.Errorf("line %d: %w; give the map that ddrescue wrote for this image", n, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: it is longer than 64 KiB; give the map that ddrescue wrote for this image", n)
	} else if err != nil {
		return nil, fmt.Errorf("line %d: %w", n, err)
	}
	if p.blocks == 0 {
		return nil, errors.New("it holds no block, so that nothing of the image would be known; give the map that ddrescue wrote for this image, or none")
	}
	p.m.Finished = Normalise(p.finished).Subtract(Normalise(p.other))
	return &p.m, nil
}

type mapParser struct {
	m               Map
	status          bool // its line was there
	blocks          int
	finished, other []Range
}

func (p *mapParser) line(fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	if !p.status {
		p.status = true
		return statusLine(fields)
	}
	if len(fields) != 3 {
		return fmt.Errorf("%d fields, and not position, size and status", len(fields))
	}
	pos, err := mapNumber(fields[0])
	if err != nil {
		return err
	}
	size, err := mapNumber(fields[1])
	if err != nil {
		return err
	}
	if pos > math.MaxInt64-size {
		return fmt.Errorf("a block at %s of %s bytes ends behind the largest offset", fields[0], fields[1])
	}
	if p.blocks++; p.blocks > mostBlocks {
		return fmt.Errorf("more than %d blocks", mostBlocks)
	}
	return p.block(Range{pos, size}, fields[2])
}

func (p *mapParser) block(r Range, status string) error {
	switch status {
	case "+":
		p.finished = append(p.finished, r)
	case "?", "*", "/", "-":
		p.other = append(p.other, r)
	default:
		return fmt.Errorf("unknown status %.20q; known are ? * / - and +", status)
	}
	p.m.End = max(p.m.End, r.End())
	for _, at := range []int64{r.Off, r.End()} {
		if at < endless {
			p.m.Size = max(p.m.Size, at)
		}
	}
	return nil
}

// statusLine checks the line of status: current position, status, pass.
func statusLine(fields []string) error {
	if len(fields) > 3 || len(fields) < 2 || !strings.Contains("?*/-FG+", fields[1]) {
		return fmt.Errorf("the first line is no status line (position, status and pass)")
	}
	_, err := mapNumber(fields[0])
	return err
}

// mapNumber reads a number as C does.
func mapNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < 0 || strings.ContainsAny(s, "_") {
		return 0, fmt.Errorf("%.20q is no position or size", s)
	}
	return n, nil
}
