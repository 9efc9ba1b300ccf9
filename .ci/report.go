// Command report reads `go test -json` on standard input and prints what a
// person needs to see: a line for each package, the whole output of what
// failed, and the counts. It fails when a test failed, when a test was skipped
// (a test that does not run proves nothing; what it needs, .ci/setup installs)
// and when no test ran.
//
//	go test -json ./... | go run .ci/report.go
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// An event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output, ImportPath, FailedBuild string
	Elapsed                                                float64
}

type report struct {
	output  map[string][]string // by package and test, until it has passed
	builds  map[string][]string // by import path
	passed  int
	failed  []string
	skipped []string
}

func main() {
	r := report{output: map[string][]string{}, builds: map[string][]string{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Println(lines.Text()) // the go command's own words
			continue
		}
		r.take(e)
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "read test output:", err)
		os.Exit(1)
	}
	os.Exit(r.close())
}

func (r *report) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(e, key)
		}
		delete(r.output, key)
	}
}

func (r *report) endTest(e event, key string) {
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped = append(r.skipped, key)
		fmt.Printf("--- SKIP: %s\n%s", key, strings.Join(r.output[key], ""))
	case "fail":
		r.failed = append(r.failed, key)
		fmt.Printf("%s", strings.Join(r.output[key], ""))
	}
}

func (r *report) endPackage(e event) {
	switch e.Action {
	case "pass":
		fmt.Printf("ok  \t%s\t%.1fs\n", e.Package, e.Elapsed)
	case "skip":
		fmt.Printf("?   \t%s\t[no test files]\n", e.Package)
	case "fail":
		if !r.known(e.Package) {
			r.failed = append(r.failed, e.Package)
		}
		fmt.Print(strings.Join(r.builds[e.FailedBuild], ""), strings.Join(r.output[e.Package+" "], ""))
	}
}

// known says whether a failed test of the package is counted already.
func (r *report) known(pkg string) bool {
	for _, name := range r.failed {
		if strings.HasPrefix(name, pkg+" ") {
			return true
		}
	}
	return false
}

// close prints the end and gives the exit code.
func (r *report) close() int {
	for _, name := range r.failed {
		fmt.Println("failed:", name)
	}
	for _, name := range r.skipped {
		fmt.Println("skipped, which counts as failed:", name)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	if len(r.failed)+len(r.skipped) > 0 || r.passed == 0 {
		return 1
	}
	return 0
}
