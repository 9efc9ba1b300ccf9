package maildir

import (
	"os"
	"strconv"
	"strings"
)

// mounts are the mount points, as /proc/self/mountinfo shows them.
type mounts []string

// readMounts reads the mount points; where there is no /proc every path counts
// as one partition.
func readMounts() mounts {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var m mounts
	for _, line := range strings.Split(string(b), "\n") {
		// proc(5): id, parent, device, root, mount point, ...; odd bytes as \ooo
		if f := strings.Fields(line); len(f) > 4 {
			m = append(m, unoctal(f[4]))
		}
	}
	return m
}

// of is the mount point that a path lies under.
func (m mounts) of(path string) string {
	best := "/"
	for _, p := range m {
		if len(p) > len(best) && (path == p || strings.HasPrefix(path, p+"/")) {
			best = p
		}
	}
	return best
}

func unoctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
