// Command bench compares salvor with restic and borg on the same mail: time,
// processor time, memory and bytes stored, for the runs that an operator knows.
//
//	go run ./internal/bench -small          a few minutes, to see that it works
//	go run ./internal/bench                 40 users, 44,001 messages, 3 GB
//	go run ./internal/bench -corpora DIR    real mail, one file a message
//	go run ./internal/bench -memory         salvor's memory with 40,000 and 400,000 messages
//	go run ./internal/bench -eta            how right a restore's time to come is, some minutes
//	go run ./internal/bench -salvage        mail out of damaged disks, beside PhotoRec, e2fsck, ext4magic and xfs_repair (as root)
//	go run ./internal/bench -servers        over IMAP, beside mbsync and doveadm, and from a Cyrus's disk
//
// The programs run one after the other in every step, in an order that changes
// with the round, so that what the machine does meanwhile hits all of them;
// figures are medians over the rounds. All encrypt, and all leave Junk out.
// It prints Markdown. It is no test: figures of a busy machine prove nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"salvor/internal/mailgen"
)

// settings are the command line.
type settings struct {
	dir, program, out   string
	users, messages     int
	seed                uint64
	rounds              int
	tools               string
	corpora             string
	texts, files        string
	small, cold, memory bool
	eta                 bool

	servers                            bool
	account, spoolUsers, spoolMessages int

	salvage bool
	image   int // MiB
	disks   string
	damages string
}

func main() {
	s := parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) *settings {
	s := &settings{}
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	f.StringVar(&s.dir, "dir", "out/bench", "work below this directory; it should be on the disk to be measured")
	f.StringVar(&s.program, "salvor", "bin/salvor", "the salvor to measure (make build)")
	f.StringVar(&s.out, "out", "", "also write the tables to this file")
	f.IntVar(&s.users, "users", 40, "users of the corpus")
	f.IntVar(&s.messages, "messages", 44001, "messages of the corpus, Junk included")
	f.Uint64Var(&s.seed, "seed", 1, "seed of the corpus")
	f.IntVar(&s.rounds, "rounds", 5, "rounds; figures are medians (with -servers 3)")
	f.StringVar(&s.tools, "tools", "salvor,restic,borg-lz4,borg-zstd", "what to compare")
	f.StringVar(&s.corpora, "corpora", "", "take real messages from below this directory")
	f.StringVar(&s.texts, "texts", "", "write the corpus's messages with real text from below this directory")
	f.StringVar(&s.files, "files", "", "attach real files from below this directory")
	f.BoolVar(&s.small, "small", false, "a small corpus and one round")
	f.BoolVar(&s.cold, "cold", false, "empty the page cache before every run (as root)")
	f.BoolVar(&s.memory, "memory", false, "measure only salvor's memory, with 40,000 and with 400,000 messages")
	f.BoolVar(&s.eta, "eta", false, "measure only how right the time to come is that a restore of all users shows")
	f.BoolVar(&s.servers, "servers", false, "compare with mbsync and doveadm on a Dovecot and a Cyrus, and measure a Cyrus's disk")
	f.IntVar(&s.account, "account", 6000, "with -servers: messages of the account that is backed up over IMAP")
	f.IntVar(&s.spoolUsers, "spool-users", 200, "with -servers: users of the Cyrus's disk")
	f.IntVar(&s.spoolMessages, "spool-messages", 40000, "with -servers: messages of the Cyrus's disk")
	f.BoolVar(&s.salvage, "salvage", false, "compare what is brought back from damaged disks, and how fast (as root)")
	f.IntVar(&s.image, "image", 1024, "with -salvage: size of a disk, MiB")
	f.StringVar(&s.disks, "disks", "ext4,xfs", "with -salvage: file systems")
	f.StringVar(&s.damages, "damages", "header,inodes-random,directories,hole,removed,removed-clean,reformatted", "with -salvage: what happens to the disks; all for everything")
	f.Parse(args)
	set := map[string]bool{}
	f.Visit(func(x *flag.Flag) { set[x.Name] = true })
	if s.servers && !set["rounds"] {
		s.rounds = 3
	}
	if s.salvage && !set["tools"] {
		s.tools = "salvor,photorec,e2fsck,ext4magic,xfs_repair"
	}
	if s.small {
		if !set["users"] {
			s.users = 6
		}
		if !set["messages"] {
			s.messages = 2000
		}
		if !set["rounds"] {
			s.rounds = 1
		}
		if !set["account"] {
			s.account = 500
		}
		if !set["image"] {
			s.image = 96
		}
		if !set["spool-users"] {
			s.spoolUsers = 10
		}
		if !set["spool-messages"] {
			s.spoolMessages = 1000
		}
	}
	return s
}

func (s *settings) run(ctx context.Context) error {
	var err error
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if s.program, err = filepath.Abs(s.program); err != nil {
		return err
	}
	if _, err := os.Stat(s.program); err != nil {
		return fmt.Errorf("%w (hint: make build)", err)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return err
	}
	report := &strings.Builder{}
	switch {
	case s.memory:
		err = s.runMemory(ctx, report)
	case s.eta:
		err = s.runETA(ctx, report)
	case s.salvage:
		err = s.compareSalvage(ctx, report)
	case s.servers:
		err = s.compareServers(ctx, report)
	default:
		err = s.compare(ctx, report)
	}
	if err != nil {
		return err
	}
	io.WriteString(os.Stdout, report.String())
	if s.out != "" {
		return os.WriteFile(s.out, []byte(report.String()), 0o644)
	}
	return nil
}

// corpus makes the mail to back up.
func (s *settings) corpus(ctx context.Context, root string) (*mailgen.Corpus, error) {
	say("making the mail")
	o := mailgen.Options{Root: root, Users: s.users, Messages: s.messages, Seed: s.seed, Texts: s.texts, Files: s.files}
	if s.corpora != "" {
		return mailgen.Import(ctx, o, s.corpora)
	}
	return mailgen.Create(ctx, o)
}

// say tells on standard error what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
