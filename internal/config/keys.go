package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"salvor/internal/pace"
)

// A setter puts a key's value into its place or says what is wrong with it.
type setter func(c *Config, value any) error

// topKeys are the keys outside of tables.
var topKeys = map[string]setter{
	"vault":            func(c *Config, v any) error { return setURL(&c.Vault, v) },
	"catalog":          func(c *Config, v any) error { return setPath(&c.Catalog, v) },
	"identity":         func(c *Config, v any) error { return setPaths(&c.Identity, v) },
	"identity-command": func(c *Config, v any) error { return setText(&c.IdentityCommand, v) },
	"source":           func(c *Config, v any) error { return setURL(&c.Source, v) },
	"user":             func(c *Config, v any) error { return setText(&c.User, v) },
	"exclude-folders":  func(c *Config, v any) error { return setTexts(&c.ExcludeFolders, v) },
	"junk-folders":     func(c *Config, v any) error { return setTexts(&c.JunkFolders, v) },
	"redeliver-folder": func(c *Config, v any) error { return setText(&c.RedeliverFolder, v) },
	"include-junk":     func(c *Config, v any) error { return setBool(&c.IncludeJunk, v) },
	"keep-deleted":     func(c *Config, v any) error { return setDuration(&c.KeepDeleted, v) },
	"erase-grace":      func(c *Config, v any) error { return setDuration(&c.EraseGrace, v) },
	"tombstones-keep":  func(c *Config, v any) error { return setDuration(&c.TombstonesKeep, v) },
	"on-gate":          func(c *Config, v any) error { return setText(&c.OnGate, v) },
	"pace":             setPace,
	"min-free-space":   setFreeSpace,
}

// brakeKeys are the keys of [brake].
var brakeKeys = map[string]setter{
	"user-percent":      func(c *Config, v any) error { return setPercent(&c.Brake.UserPercent, v) },
	"user-messages":     func(c *Config, v any) error { return setCount(&c.Brake.UserMessages, v) },
	"partition-percent": func(c *Config, v any) error { return setPercent(&c.Brake.PartitionPercent, v) },
}

// userKeys are the keys of [users."name"].
var userKeys = map[string]func(u *User, value any) error{
	"keep-deleted": func(u *User, v any) error {
		u.KeepDeleted = new(time.Duration)
		return setDuration(u.KeepDeleted, v)
	},
}

// targetKeys are the keys of [targets."URL"].
var targetKeys = map[string]func(t *Target, value any) error{
	"credentials-file": func(t *Target, v any) error { return setPath(&t.CredentialsFile, v) },
	"url":              func(t *Target, v any) error { return setURL(&t.URL, v) },
}

func wrong(want string, v any) error {
	switch v.(type) {
	case string:
		return fmt.Errorf("must be %s, not a string", want)
	case int64, float64:
		return fmt.Errorf("must be %s, not a number", want)
	case bool:
		return fmt.Errorf("must be %s, not true or false", want)
	case []any:
		return fmt.Errorf("must be %s, not a list", want)
	default:
		return fmt.Errorf("must be %s", want)
	}
}

func setText(to *string, v any) error {
	s, ok := v.(string)
	if !ok {
		return wrong("a string", v)
	}
	if strings.ContainsRune(s, 0) {
		return errors.New("must not hold a NUL")
	}
	*to = s
	return nil
}

// setPath takes absolute paths only: what a relative one means would depend on
// where cron, systemd or a person happens to start salvor.
func setPath(to *string, v any) error {
	if err := setText(to, v); err != nil {
		return err
	}
	if *to != "" && !filepath.IsAbs(*to) {
		return fmt.Errorf("must be an absolute path, not %q", *to)
	}
	return nil
}

// setURL takes a store's URL or an absolute path, without a password in it.
func setURL(to *string, v any) error {
	if err := setText(to, v); err != nil {
		return err
	}
	if !strings.Contains(*to, ":") {
		return setPath(to, v)
	}
	u, err := url.Parse(*to)
	if err != nil {
		// An IMAP URL may be no valid one; what is wrong is the store's to say.
		return nil
	}
	if _, secret := u.User.Password(); secret {
		*to = ""
		return errors.New("holds a password; the file must not: use the environment or a secret file (SALVOR_IMAP_PASSWORD_FILE, AWS_SHARED_CREDENTIALS_FILE)")
	}
	return nil
}

func setTexts(to *[]string, v any) error {
	list, ok := v.([]any)
	if !ok {
		return wrong("a list of strings, as in [\"one\", \"two\"]", v)
	}
	texts := make([]string, len(list))
	for i, item := range list {
		if err := setText(&texts[i], item); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
		if texts[i] == "" {
			return fmt.Errorf("item %d: must not be empty", i+1)
		}
	}
	*to = texts
	return nil
}

// setPaths takes one path or a list of them.
func setPaths(to *[]string, v any) error {
	if s, ok := v.(string); ok {
		v = []any{s}
	}
	if err := setTexts(to, v); err != nil {
		return err
	}
	for i, s := range *to {
		if !filepath.IsAbs(s) {
			return fmt.Errorf("item %d: must be an absolute path, not %q", i+1, s)
		}
	}
	return nil
}

func setBool(to *bool, v any) error {
	b, ok := v.(bool)
	if !ok {
		return wrong("true or false", v)
	}
	*to = b
	return nil
}

func setDuration(to *time.Duration, v any) error {
	s, ok := v.(string)
	if !ok {
		return wrong(`a duration in quotes, as in "168h" or "7d"`, v)
	}
	d, err := ParseDuration(s)
	if err != nil {
		return err
	}
	*to = d
	return nil
}

func setPace(c *Config, v any) (err error) {
	c.Pace, err = rate(v)
	return err
}

func rate(v any) (pace.Rate, error) {
	s, ok := v.(string)
	if !ok {
		return pace.Rate{}, wrong(`a rate in quotes, as in "200msg/s,20MB/s"`, v)
	}
	return pace.ParseRate(s)
}

func setFreeSpace(c *Config, v any) error {
	if n, ok := v.(int64); ok && n >= 0 {
		c.MinFreeSpace = n
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return wrong(`a size, as in "2GB"`, v)
	}
	n, err := pace.ParseBytes(s)
	if err != nil {
		return err
	}
	c.MinFreeSpace = n
	return nil
}

func setPercent(to *float64, v any) error {
	f, ok := v.(float64)
	if n, whole := v.(int64); whole {
		f, ok = float64(n), true
	}
	if !ok {
		return wrong("a number of percent", v)
	}
	if !(f > 0 && f <= 100) { // written so that NaN is wrong too
		return errors.New("must be more than 0 and at most 100 percent")
	}
	*to = f
	return nil
}

func setCount(to *int, v any) error {
	n, ok := v.(int64)
	if !ok {
		return wrong("a whole number", v)
	}
	if n < 0 || n > 1<<31-1 {
		return errors.New("must be between 0 and 2147483647")
	}
	*to = int(n)
	return nil
}
