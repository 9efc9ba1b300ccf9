package config

import (
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
	// KeepDeleted is how long a message is kept after it vanished.
	KeepDeleted time.Duration
	// EraseGrace is how long condemned objects stay before they are deleted.
	EraseGrace time.Duration
	// TombstonesKeep is how long the hash of an expired message is remembered.
	TombstonesKeep time.Duration
	// Pace limits how fast a source is read and a destination is written.
	Pace pace.Rate
	// MinFreeSpace is how many bytes a vault's disk must have left, 0 for the
	// estimate that a run makes itself.
	MinFreeSpace int64
	// Users holds what is different for single users, by full name.
	Users map[string]User
	// Brake holds the bounds beyond which disappearing mail is held.
	Brake Brake
}

// User is what the file says about one user.
type User struct {
	// KeepDeleted takes the place of the general value, nil where it applies.
	KeepDeleted *time.Duration
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
