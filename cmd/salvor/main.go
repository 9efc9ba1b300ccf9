// Command salvor backs up the mail of a mail server and brings it back.
//
// The package holds the commands of the command line: flags, output and exit
// codes. What a command does stands in the packages below (internal/backup,
// restore, internal/upkeep, catalog, internal/vault); nothing imports this one.
package main

import (
	"os"
	"runtime/debug"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		// Half of this is a fixed set of buffers. Only messages of tens of
		// megabytes ever need more, and may have it.
		debug.SetMemoryLimit(200 << 20)
	}
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
