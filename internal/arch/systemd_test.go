package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A unit is a systemd unit file: the settings of each section, in order.
type unit map[string][][2]string

func readUnit(t *testing.T, path string) unit {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u, section := unit{}, ""
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" || strings.ContainsAny(key, " \t") {
			t.Fatalf("%s:%d: %q", path, i+1, line)
		}
		u[section] = append(u[section], [2]string{key, value})
	}
	return u
}

// all gives every value of a setting.
func (u unit) all(section, key string) (values []string) {
	for _, s := range u[section] {
		if s[0] == key {
			values = append(values, s[1])
		}
	}
	return values
}

func (u unit) has(section, key, value string) bool {
	return slices.Contains(u.all(section, key), value)
}

func TestServicesAreLockedUp(t *testing.T) {
	for name, command := range map[string]string{"salvor-backup": "backup", "salvor-prune": "prune", "salvor-drill": "restore --drill"} {
		u := readUnit(t, top+"/docs/systemd/"+name+".service")
		if run := u.all("Service", "ExecStart"); len(run) != 1 || !strings.HasPrefix(run[0], "/usr/local/bin/salvor "+command+" ") {
			t.Errorf("%s runs %q", name, run)
		}
		for _, want := range [][2]string{
			{"Type", "oneshot"}, {"UMask", "0077"}, {"ProtectSystem", "strict"}, {"NoNewPrivileges", "yes"}, {"PrivateTmp", "yes"},
			{"StateDirectoryMode", "0700"}, {"SystemCallFilter", "@system-service"}, {"RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"},
		} {
			if !u.has("Service", want[0], want[1]) {
				t.Errorf("%s: no %s=%s", name, want[0], want[1])
			}
		}
		// A password on a command line or in a unit is readable by everybody.
		for _, value := range append(u.all("Service", "Environment"), u.all("Service", "ExecStart")...) {
			if regexp.MustCompile(`(?i)secret|password|token`).MatchString(value) {
				t.Errorf("%s holds a secret: %s", name, value)
			}
		}
	}
}

func TestTimersSpreadTheNight(t *testing.T) {
	for _, name := range []string{"salvor-backup", "salvor-prune", "salvor-drill"} {
		u := readUnit(t, top+"/docs/systemd/"+name+".timer")
		if len(u.all("Timer", "OnCalendar")) != 1 || len(u.all("Timer", "RandomizedDelaySec")) != 1 ||
			!u.has("Timer", "Persistent", "yes") || !u.has("Install", "WantedBy", "timers.target") {
			t.Errorf("%s: %v", name, u)
		}
	}
}

// systemd's own check, on machines that have it.
func TestSystemdAcceptsTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // the tests above have read the units
	}
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	units, err := filepath.Glob(top + "/docs/systemd/*")
	if err != nil || len(units) != 6 {
		t.Fatalf("units: %v %v", units, err)
	}
	args := []string{"verify", "--man=no", "--recursive-errors=no"}
	for _, path := range units {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// verify wants a program that is there.
		text := strings.ReplaceAll(string(b), "/usr/local/bin/salvor", program)
		copied := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		// Units of the machine itself are not our business.
		if strings.Contains(line, "salvor-") {
			t.Error(line)
		}
	}
	if err != nil && !t.Failed() {
		t.Logf("systemd-analyze: %v: %s", err, out)
	}
}
