// Package config reads salvor's configuration file, salvor.toml, and the times
// and durations that people type on the command line.
//
// It knows every key of the file, its default and its bounds, and answers a
// wrong line with the file's name, the line, the key and a suggestion. It does
// not open vaults or sources, reads no secret (the file names files that hold
// them) and does not know the command line's flags, which win over the file.
// Only cmd/salvor imports it; the engines get plain values.
//
// Invariant: a *Config that came from Default or Load without an error is
// usable as it is; every value is inside its bounds.
package config
