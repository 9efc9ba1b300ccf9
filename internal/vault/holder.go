package vault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Holder is who holds a lease, for people and for noticing that it is dead.
type Holder struct {
	ID      string // 32 hexadecimal digits, made anew with every lease
	Host    string
	PID     int
	Purpose string
	Since   time.Time // by the holder's clock

	machine string // names one boot and one process namespace; "" unknown
	start   string // when the process was started, as the system counts it
}

func newHolder(o LeaseOptions) Holder {
	h := Holder{ID: randomHex(16), Host: o.Host, PID: os.Getpid(), Purpose: o.Purpose, Since: time.Now().UTC()}
	if h.Host == "" {
		h.Host, _ = os.Hostname()
	}
	if checkHost(h.Host) != nil {
		h.Host = "unknown"
	}
	h.machine = thisMachine()
	h.start, _ = processStart(h.PID)
	return h
}

// dead tells whether the holder is a process of this machine that is gone.
// What cannot be known is not dead.
func (h Holder) dead() bool {
	there, known := h.process()
	return known && !there
}

// process tells whether the holder's process is there, as far as this machine
// can know.
func (h Holder) process() (there, known bool) {
	if h.machine == "" || h.machine != thisMachine() || h.start == "" {
		return false, false
	}
	start, known := processStart(h.PID)
	return start == h.start, known
}

// thisMachine names the running system and its process numbers: the boot id
// changes with every start, and a container has process numbers of its own.
// "" where the system does not tell.
func thisMachine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + space
}

// processStart gives the start time of a process (field 22 of proc(5)'s stat),
// which tells it from a later one with the same number; "" when there is none.
// known is false where the system does not tell.
func processStart(pid int) (start string, known bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if os.IsNotExist(err) {
		_, err := os.Stat("/proc/self/stat")
		return "", err == nil
	}
	if err != nil {
		return "", false
	}
	// The second field is the program's name in parentheses, which may hold
	// anything: count from its end.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return "", false
	}
	return f[19], true
}

// marshal gives the object of a lease's n-th beat. The number makes each one
// different from the last.
func (h Holder) marshal(vault string, n uint64, state string) []byte {
	return fmt.Appendf(nil, "salvor lease 1\nvault %s\nbeat %d\nstate %s\nholder %s\nhost %s\npid %d\nsince %s\nmachine %s\nstart %s\npurpose %s\n",
		vault, n, state, h.ID, h.Host, h.PID, formatTime(h.Since), orDash(h.machine), orDash(h.start), orDash(h.Purpose))
}

func orDash(s string) string {
	if checkValue(s) != nil {
		return "-"
	}
	return s
}

func fromDash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// parseHolder reads a beat. It is not signed: who can write to the store can
// disturb writers anyway, and safety does not rest on the lease. What cannot
// be read is a holder of whom nothing is known.
func parseHolder(b []byte) (h Holder, released bool) {
	f := map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if key, value, ok := strings.Cut(line, " "); ok && checkValue(value) == nil {
			f[key] = value
		}
	}
	h = Holder{ID: f["holder"], Host: f["host"], Purpose: fromDash(f["purpose"]), machine: fromDash(f["machine"]), start: fromDash(f["start"])}
	h.PID, _ = strconv.Atoi(f["pid"])
	h.Since, _ = time.Parse(time.RFC3339Nano, f["since"])
	return h, f["state"] == stateReleased
}
