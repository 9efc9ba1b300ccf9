// Package s3gw runs a real S3 server (versitygw) for tests, and a proxy
// before it that makes it slow, silent or cut off.
//
// It is for tests only. A test that needs the server and does not find its
// program fails and says how to get it; it is never skipped. Everything
// listens on loopback and ends with the test, or with the test's process.
package s3gw

import (
	"context"
	"errors"
	"fmt"
	"go/build"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const install = "install it with: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 (or let SALVOR_VERSITYGW name the program)"

// The keys of the server's root user.
const (
	Access = "salvor-test-access"
	Secret = "salvor-test-secret"
)

// Server is a running versitygw with an empty store of its own.
type Server struct {
	// Endpoint is "http://127.0.0.1:PORT"; it stays over Stop and Restart.
	Endpoint string
	// Flags are further global flags of versitygw, for the next Restart.
	Flags []string

	program string
	dir     string
	port    int
	cmd     *exec.Cmd
	ended   chan error // gets cmd's end
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	program, err := find()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{program: program, dir: t.TempDir()}
	for _, d := range []string{"data", "meta", "iam", "versions"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.Stop(t) })
	// Between choosing a free port and the server's taking it another process
	// may; then the server ends at once.
	for range 3 {
		if s.port, err = freePort(); err != nil {
			t.Fatal(err)
		}
		s.Endpoint = "http://127.0.0.1:" + strconv.Itoa(s.port)
		if err = s.run(t); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func find() (string, error) {
	if p := os.Getenv("SALVOR_VERSITYGW"); p != "" {
		if _, err := exec.LookPath(p); err != nil {
			return "", fmt.Errorf("SALVOR_VERSITYGW: %w; %s", err, install)
		}
		return p, nil
	}
	places := []string{"versitygw"} // in PATH
	for _, dir := range filepath.SplitList(build.Default.GOPATH) {
		places = append(places, filepath.Join(dir, "bin", "versitygw"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, ".cache", "salvor-test", "bin", "versitygw"))
	}
	for _, p := range places {
		if found, err := exec.LookPath(p); err == nil {
			return found, nil
		}
	}
	return "", errors.New("versitygw is not here; " + install)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) run(t testing.TB) error {
	args := append([]string{"--quiet", "--port", "127.0.0.1:" + strconv.Itoa(s.port), "--access", Access, "--secret", Secret,
		"--iam-dir", filepath.Join(s.dir, "iam"), "--iam-cache-disable", "--health", "/health"}, s.Flags...)
	// The sidecar keeps metadata out of extended attributes, which not every
	// file system of a temporary directory has.
	args = append(args, "posix", "--sidecar", filepath.Join(s.dir, "meta"),
		"--versioning-dir", filepath.Join(s.dir, "versions"), filepath.Join(s.dir, "data"))
	logName := filepath.Join(s.dir, "log")
	log, err := os.Create(logName)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.cmd, s.ended = cmd, ended
	for range 1000 {
		select {
		case err := <-ended:
			s.cmd = nil
			said, _ := os.ReadFile(logName)
			return fmt.Errorf("versitygw ended: %v: %s", err, said)
		case <-time.After(10 * time.Millisecond):
		}
		if s.healthy(t.Context()) {
			return nil
		}
	}
	s.Stop(t)
	said, _ := os.ReadFile(logName)
	return fmt.Errorf("versitygw does not answer: %s", said)
}

func (s *Server) healthy(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// Stop kills the server as a crash would.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Errorf("stop versitygw: %v", err)
	}
	<-s.ended
	s.cmd = nil
}

// Restart starts a stopped server again, at the same place with the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(t); err != nil {
		t.Fatal(err)
	}
}

// URL is the URL of a store at the server.
func (s *Server) URL(bucket, prefix string) string { return URL(s.Endpoint, bucket, prefix) }

// URL is the URL of a store at an endpoint.
func URL(endpoint, bucket, prefix string) string {
	return "s3://" + bucket + "/" + prefix + "?region=us-east-1&endpoint=" + url.QueryEscape(endpoint)
}

// Client is a client with the root user's keys, for setting things up.
func (s *Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(Access, Secret, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// MakeBucket makes a bucket that belongs to the root user.
func (s *Server) MakeBucket(t testing.TB, bucket string) {
	t.Helper()
	if err := s.Client(t).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

// MakeLockedBucket makes one with versions and object lock.
func (s *Server) MakeLockedBucket(t testing.TB, bucket string) {
	t.Helper()
	if err := s.Client(t).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		t.Fatal(err)
	}
}

// SetPolicy gives a bucket a policy.
func (s *Server) SetPolicy(t testing.TB, bucket, policy string) {
	t.Helper()
	if err := s.Client(t).SetBucketPolicy(t.Context(), bucket, policy); err != nil {
		t.Fatal(err)
	}
}

// AddUser makes a user who owns nothing.
func (s *Server) AddUser(t testing.TB, access, secret string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), s.program, "admin", "--access", Access, "--secret", Secret, "--endpoint-url", s.Endpoint,
		"create-user", "--access", access, "--secret", secret, "--role", "user").CombinedOutput()
	if err != nil {
		t.Fatalf("create user: %v: %s", err, out)
	}
}

// SetKeys sets the environment that an S3 client takes its keys from, for one
// test; a package whose tests run in parallel sets it in TestMain.
func SetKeys(t testing.TB, access, secret string) {
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
}
