package dovecot

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// writeSecrets writes the masters' passwords and the certificate.
func (s *Server) writeSecrets() {
	s.t.Helper()
	var masters strings.Builder
	for _, m := range s.opt.Masters {
		fmt.Fprintf(&masters, "%s:%s\n", m, Password)
	}
	err := os.WriteFile(s.path("etc/masters"), []byte(masters.String()), 0o644)
	if err == nil && s.opt.TLS != nil {
		err = s.opt.TLS.Write(s.path("etc/cert.pem"), s.path("etc/key.pem"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

var conf = template.Must(template.New("dovecot.conf").Parse(`
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/dovecot.log
protocols = imap
listen = 127.0.0.1
login_greeting = {{.Name}}
{{if .Opt.TLS}}ssl = yes
ssl_cert = <{{.Dir}}/etc/cert.pem
ssl_key = <{{.Dir}}/etc/key.pem
{{else}}ssl = no
{{end}}auth_failure_delay = 0
auth_master_user_separator = *
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {{.Owner.UID}}
mail_gid = {{.Owner.GID}}
mail_home = {{.Dir}}/home/%u
mail_location = {{.Location}}
mail_fsync = never
mail_plugins ={{if .Opt.Quota}} quota{{end}}{{if .Opt.ACL}} acl{{end}}{{if .Opt.Compress}} zlib{{end}}
plugin {
{{if .Opt.Quota}}  quota = count:User quota
  quota_vsizes = yes
  quota_rule = {{.Opt.Quota}}
{{end}}{{if .Opt.ACL}}  acl = vfile
{{end}}{{if .Opt.Compress}}  zlib_save = {{.Opt.Compress}}
{{end}}}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
{{if not .Root}}default_internal_user = {{.Owner.Name}}
default_internal_group = {{.Owner.Group}}
default_login_user = {{.Owner.Name}}
service anvil {
  chroot =
}
service imap-login {
  chroot =
}
service stats {
  chroot =
}
{{end}}
namespace inbox {
  inbox = yes
  separator = /
  mailbox Junk {
    special_use = \Junk
    auto = no
  }
}
{{if .Opt.Masters}}passdb {
  driver = passwd-file
  args = scheme=PLAIN {{.Dir}}/etc/masters
  master = yes
  result_success = continue
}
{{end}}passdb {
  driver = static
  args = password={{.Password}}
}
userdb {
  driver = static
  args = uid={{.Owner.UID}} gid={{.Owner.GID}} home={{.Dir}}/home/%u allow_all_users=yes
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = {{.Port}}
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = {{if .Opt.TLS}}{{.TLSPort}}{{else}}0{{end}}
    ssl = yes
  }
}
{{.Opt.Config}}
protocol imap {
  mail_plugins = $mail_plugins{{if .Opt.Quota}} imap_quota{{end}}{{if .Opt.ACL}} imap_acl{{end}}{{if .Opt.Compress}} imap_zlib{{end}}
  mail_max_userip_connections = 100
}
`))

func (s *Server) config() []byte {
	var b bytes.Buffer
	err := conf.Execute(&b, map[string]any{
		"Dir": s.Dir, "Name": filepath.Base(s.Dir), "Owner": s.owner, "Port": s.Port, "TLSPort": s.TLSPort, "Opt": s.opt, "Password": Password, "Root": os.Getuid() == 0,
		"Location": strings.ReplaceAll(s.opt.Location, "@DIR@", s.Dir),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}
