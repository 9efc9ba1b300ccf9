package config

import (
	"slices"
	"strings"
	"time"

	"salvor/internal/pace"
)

// Config is what the configuration file says, with the defaults filled in.
type Config struct {
	// File is the file that was read, "" when there is none.
	File string
	// Vault is the vault's URL or directory, "" for the default one.
	Vault string
	// Catalog is the catalog's file, "" for the default one.
	Catalog string
	// Identity names the identity files, in the order in which they are tried.
	Identity []string
	// IdentityCommand is a shell command that prints an identity, "" for none.
	IdentityCommand string
	// Source is the store URL that `salvor backup` reads when none is given.
	Source string
	// User is the user's name for a source whose URL holds no %u, %n or %d.
	User string
	// ExcludeFolders holds patterns of folders that are left out.
	ExcludeFolders []string
	// JunkFolders holds more names of Junk folders than salvor knows itself.
	JunkFolders []string
	// IncludeJunk backs up Junk folders too.
	IncludeJunk bool
	// RedeliverFolder takes redelivered messages whose own folder cannot be made,
	// "" for the default one.
	RedeliverFolder string
	// KeepDeleted is how long a message is kept after it vanished.
	KeepDeleted time.Duration
	// EraseGrace is how long condemned objects stay before they are deleted.
	EraseGrace time.Duration
	// TombstonesKeep is how long the hash of an expired message is remembered.
	TombstonesKeep time.Duration
	// Pace limits how fast a source is read and a destination is written.
	Pace pace.Rate
	// Rates takes its place for stores whose URL begins with the key.
	Rates map[string]pace.Rate
	// OnGate is a shell command that is told how far a user of an incident may come
	// in, "" for none.
	OnGate string
	// MinFreeSpace is how many bytes a vault's disk must have left, 0 for the
	// estimate that a run makes itself.
	MinFreeSpace int64
	// Users holds what is different for single users, by full name.
	Users map[string]User
	// Targets holds what is different for single object stores, by URL.
	Targets map[string]Target
	// Brake holds the bounds beyond which disappearing mail is held.
	Brake Brake
}

// User is what the file says about one user.
type User struct {
	// KeepDeleted takes the place of the general value, nil where it applies.
	KeepDeleted *time.Duration
}

// Target is what the file says about one object store of a vault.
type Target struct {
	// CredentialsFile is a file in the format of ~/.aws/credentials, "" for the
	// standard places.
	CredentialsFile string
	// URL is where the target of a vault with parity is now, "" for where it was
	// when the vault was made.
	URL string
}

// Brake holds the bounds of ordinary life: disappearance beyond them waits for
// an operator.
type Brake struct {
	// UserPercent and UserMessages: more than both of a user's mail.
	UserPercent  float64
	UserMessages int
	// PartitionPercent: more than this share of a partition's mail.
	PartitionPercent float64
}

// Default gives the configuration of an empty file.
func Default() *Config {
	return &Config{
		KeepDeleted:    7 * day,
		EraseGrace:     day,
		TombstonesKeep: 90 * day,
		Users:          map[string]User{},
		Targets:        map[string]Target{},
		Rates:          map[string]pace.Rate{},
		Brake:          Brake{UserPercent: 30, UserMessages: 50, PartitionPercent: 2},
	}
}

// KeepDeletedFor gives how long messages of a user are kept after they
// vanished.
func (c *Config) KeepDeletedFor(user string) time.Duration {
	if u, ok := c.Users[user]; ok && u.KeepDeleted != nil {
		return *u.KeepDeleted
	}
	return c.KeepDeleted
}

// PaceFor gives how fast a source may be read or a destination written: that of
// the longest beginning of its URL that the file names, else the general one.
func (c *Config) PaceFor(store string) pace.Rate {
	longest, rate := -1, c.Pace
	for beginning, r := range c.Rates {
		if strings.HasPrefix(store, beginning) && len(beginning) > longest {
			longest, rate = len(beginning), r
		}
	}
	return rate
}

// URLFor gives the place of a target that was made at url.
func (c *Config) URLFor(url string) string {
	if t := c.Targets[url]; t.URL != "" {
		return t.URL
	}
	return url
}

// TargetURLs are the places of all targets that are named, sorted.
func (c *Config) TargetURLs() (urls []string) {
	for url := range c.Targets {
		urls = append(urls, c.URLFor(url))
	}
	slices.Sort(urls)
	return urls
}

// CredentialsFor gives the file with the credentials of an object store, "" for
// the standard places. A target is meant by its URL with or without what
// follows the "?".
func (c *Config) CredentialsFor(url string) string {
	if t, ok := c.Targets[url]; ok {
		return t.CredentialsFile
	}
	bare, _, _ := strings.Cut(url, "?")
	return c.Targets[bare].CredentialsFile
}
