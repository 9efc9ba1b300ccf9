package cyrus

import (
	"fmt"
	"path/filepath"
	"strings"
)

// ConfigFile is the server's imapd.conf.
func (s *Server) ConfigFile() string { return s.path("etc/imapd.conf") }

func (s *Server) partitions() []string { return append([]string{"default"}, s.opt.Partitions...) }

// Spool is the directory of a partition's messages.
func (s *Server) Spool(partition string) string { return s.path("data/" + partition) }

// Meta is the directory of a partition's metadata, which is empty without
// Options.Metafiles.
func (s *Server) Meta(partition string) string { return s.path("meta/" + partition) }

func (s *Server) imapdConf() string {
	lines := []string{
		"configdirectory: @DIR@/conf",
		"defaultpartition: default",
		"cyrus_user: " + s.owner.Name,
		"cyrus_group: " + s.owner.Group,
		// By its greeting a test knows its own server.
		"servername: " + filepath.Base(s.Dir),
		"defaultdomain: localhost",
		"admins: " + Admin + " " + Backup,
		"allowplaintext: yes",
		"sasl_mech_list: PLAIN LOGIN",
		"sasl_pwcheck_method: saslauthd",
		"sasl_saslauthd_path: " + s.passwordSocket(),
		"failedloginpause: 0",
		"unixhierarchysep: " + onOff(!s.opt.DotSeparator),
		"altnamespace: on",
		"virtdomains: off",
		"expunge_mode: delayed",
		"delete_mode: delayed",
		"conversations: yes",
		"annotation_allow_undefined: yes",
		"specialusealways: yes",
		// It drops, with a 250, what it has delivered before.
		"duplicatesuppression: no",
		"sync_try_imap: no",
		"sievedir: @DIR@/sieve",
		"sendmail: /bin/true",
		"idlesocket: @DIR@/conf/socket/idle",
		"lmtpsocket: @DIR@/conf/socket/lmtp",
		"notifysocket: @DIR@/conf/socket/notify",
	}
	if s.opt.VirtualDomains {
		lines = append(lines, "virtdomains: userid")
	}
	if s.opt.Layout == Legacy {
		lines = append(lines, "mailbox_legacy_dirs: yes", "hashimapspool: yes")
	}
	for _, p := range s.partitions() {
		lines = append(lines, "partition-"+p+": "+s.Spool(p))
		if s.opt.Metafiles != "" {
			lines = append(lines, "metapartition-"+p+": "+s.Meta(p))
		}
	}
	if s.opt.Metafiles != "" {
		lines = append(lines, "metapartition_files: "+s.opt.Metafiles)
	}
	if s.opt.TLS != nil {
		lines = append(lines, "tls_server_cert: @DIR@/etc/cert.pem", "tls_server_key: @DIR@/etc/key.pem")
	}
	text := latest(append(lines, strings.Split(s.opt.Config, "\n")...))
	return strings.ReplaceAll(text, "@DIR@", s.Dir)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// latest leaves of each setting the last line: Cyrus refuses to read two.
func latest(lines []string) string {
	last := map[string]int{}
	for i, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		last[strings.TrimSpace(name)] = i
	}
	var b strings.Builder
	for i, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		if last[strings.TrimSpace(name)] == i {
			fmt.Fprintln(&b, l)
		}
	}
	return b.String()
}

// cyrusConf is what the master reads. An idle child ends after some seconds, for
// the case that the test dies without having stopped its master.
func (s *Server) cyrusConf() string {
	program := func(name string) string {
		return filepath.Join(s.root, "usr/lib/cyrus/bin", name) + " -C " + s.ConfigFile()
	}
	service := func(name, args string, port int) string {
		return fmt.Sprintf("  %s cmd=\"%s%s\" listen=\"127.0.0.1:%d\" prefork=0\n", name, program("imapd"), " -T 5"+args, port)
	}
	services := service("imap", "", s.Port)
	if s.opt.TLS != nil {
		services += service("imaps", " -s", s.TLSPort)
	}
	return "START {\n  recover cmd=\"" + program("ctl_cyrusdb") + " -r\"\n}\nSERVICES {\n" + services + "}\nEVENTS {\n}\n"
}
