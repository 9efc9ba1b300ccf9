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
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		// Most of the memory is a fixed set of buffers. To let garbage grow as
		// large as these would save little time and cost a third more memory.
		// Only messages of tens of megabytes ever need more than the limit.
		debug.SetGCPercent(50)
		debug.SetMemoryLimit(200 << 20)
	}
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
