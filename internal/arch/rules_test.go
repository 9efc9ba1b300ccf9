package arch

import "strings"

// module is the module's path; packages are named relative to it here.
const module = "salvor"

// floors are the places of packages, lowest first. A package imports from
// lower floors only. A name ending in "/..." stands for a package and all
// below it, which may import each other.
var floors = [][]string{
	{"internal/buffers", "internal/durable", "internal/pace"},
	{"internal/objstore/...", "internal/progress", "internal/config"},
	{"internal/parity"},
	{"chunk"},
	{"internal/vault"},
	{"catalog"},
	{"internal/mailstore/..."},
	{"internal/retention"},
	{"internal/history"}, // what engines share: the catalog kept at the vault's head
	{"salvage/volume"},
	{"salvage/raid", "salvage/fsys"},
	{"salvage/found", "salvage/ext4", "salvage/xfs", "salvage/tree", "salvage/carve", "salvage/piece"},
	{"internal/backup", "restore", "salvage/...", "internal/incident/...", "internal/upkeep", "internal/replicate"},
	{"cmd/salvor"},
}

// tools are never part of the program: only tests and each other import them.
var tools = []string{"internal/testenv/...", "internal/mailgen", "internal/bench", "internal/arch"}

// never lists imports that the floors would allow.
var never = []struct{ from, to, why string }{
	{"chunk", "", "chunk is pure: bytes in, pieces out"},
	{"catalog", "internal/vault", "the catalog is public and must not know how the vault stores"},
	{"internal/mailstore/...", "internal/vault", "adapters know no vault"},
	{"internal/mailstore/...", "catalog", "adapters know no catalog"},
	{"internal/retention", "internal/mailstore/...", "retention decides on facts, whatever store they came from"},
	{"internal/retention", "internal/vault", "retention decides, it does not erase"},
	{"internal/retention", "internal/objstore/...", "retention decides, it does not erase"},
	{"internal/vault", "internal/config", "only commands read the configuration"},
	{"internal/objstore/...", "chunk", "an object store moves bytes"},
	{"salvage/volume", "internal/mailstore/...", "a volume is bytes"},
	{"salvage/raid", "internal/mailstore/...", "an array is bytes"},
	{"salvage/ext4", "internal/mailstore/...", "a file system knows no mail"},
	{"salvage/xfs", "internal/mailstore/...", "a file system knows no mail"},
}

// onlyCommand may be imported by cmd/salvor alone.
var onlyCommand = []string{"internal/config"}

// public packages can be used as a library: what their exported signatures
// name is public too.
var public = []string{"chunk", "catalog", "restore", "salvage/..."}

// fileMakers may make, rename and write files by name. Everything else goes
// through internal/durable, which knows what has to be synced when, or through
// an os.Root.
var fileMakers = []string{"internal/durable", "internal/objstore/dir"}

// fileCalls are the calls that fileMakers may make. os.OpenFile with O_CREATE
// makes files too, but is needed for locks and for temporary files.
var fileCalls = []string{"Rename", "Create", "WriteFile", "Link", "Symlink", "Truncate"}

// clockless packages are told the time by their callers.
var clockless = []string{"internal/retention", "catalog", "chunk"}

var clockCalls = []string{"Now", "Since", "Until", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc", "Sleep"}

// homes says which packages may use which dependency. The table in
// docs/dependencies.md gives the reasons.
var homes = map[string][]string{
	"filippo.io/age":                   {"internal/vault", "internal/history", "cmd/salvor"},
	"github.com/BurntSushi/toml":       {"internal/config"},
	"github.com/klauspost/compress":    {"internal/vault", "internal/mailstore/...", "salvage/carve"},
	"github.com/klauspost/reedsolomon": {"internal/parity", "salvage/raid"},
	"github.com/minio/minio-go/v7":     {"internal/objstore/s3"},
	"github.com/restic/chunker":        {"chunk"},
	"github.com/segmentio/asm":         {"chunk"},
	"github.com/urfave/cli/v2":         {"cmd/salvor"},
	"github.com/vbauerster/mpb/v8":     {"internal/progress"},
	"golang.org/x/sys":                 {"internal/...", "salvage/volume"},
	"golang.org/x/term":                {"internal/progress", "cmd/salvor"},
	"golang.org/x/text":                {"internal/mailstore/...", "internal/backup", "catalog", "cmd/salvor"},
	"zombiezen.com/go/sqlite":          {"catalog", "salvage"},
	"github.com/emersion/go-imap/v2":   {},
	"github.com/rogpeppe/go-internal":  {},
	"pgregory.net/rapid":               {},
}

const longestFile = 500 // lines

// unfinished marks work that was left lying; an issue is the place for it.
var unfinished = []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}

// in says whether a package is meant by a pattern.
func in(pkg, pattern string) bool {
	base, tree := strings.CutSuffix(pattern, "/...")
	return pkg == base || tree && strings.HasPrefix(pkg, base+"/")
}

func inAny(pkg string, patterns []string) bool {
	for _, p := range patterns {
		if in(pkg, p) {
			return true
		}
	}
	return false
}

// place gives a package's floor and the pattern that put it there, -1 for none.
func place(pkg string) (floor int, pattern string) {
	for i, patterns := range floors {
		for _, p := range patterns {
			if in(pkg, p) {
				return i, p
			}
		}
	}
	return -1, ""
}
