package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker in a release: -ldflags "-X main.version=v1.2.3".
var version = ""

func (a *app) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Category: categoryKeep,
		Usage:     "print the version",
		UsageText: "salvor version --json",
		Action:    a.action(0, 0, a.printVersion),
	}
}

func (a *app) printVersion(context.Context, *cli.Context) error {
	v := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"`
		Format  int    `json:"vault_format"`
		Go      string `json:"go"`
	}{Version: version, Format: 1, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	v.Version = first(v.Version, "(devel)")
	if a.json {
		return a.printJSON(v)
	}
	a.print("salvor %s %s(%s, vault format %d)", v.Version, pad(v.Commit), v.Go, v.Format)
	return nil
}

func pad(s string) string {
	if s == "" {
		return ""
	}
	return s + " "
}
