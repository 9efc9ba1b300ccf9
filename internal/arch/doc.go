// Package arch holds the architecture as tests: which package may import which,
// where files may be renamed, where the clock may be asked, what public
// signatures may show, how long files may be. It has no code that runs.
//
// The floors are those of the design. A new package has to be given its place
// in floors (rules_test.go) before the tests pass; that is on purpose.
package arch
