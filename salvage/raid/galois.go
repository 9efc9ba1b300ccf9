package raid

// The field of RAID 6: bytes as polynomials modulo x^8+x^4+x^3+x^2+1 (0x11d), in
// which 2 generates everything but zero (H. P. Anvin, The mathematics of RAID-6).
var (
	powers [255]byte // powers[i] = 2^i
	logs   [256]byte // the reverse; logs[0] means nothing
)

func init() {
	x := 1
	for i := range powers {
		powers[i], logs[x] = byte(x), byte(i)
		if x <<= 1; x > 255 {
			x ^= 0x11d
		}
	}
}

// power is 2^e.
func power(e int) byte { return powers[e%255] }

// ratio is the exponent e with a * 2^e = b; neither may be 0.
func ratio(a, b byte) int {
	return (int(logs[b]) - int(logs[a]) + 255) % 255
}
