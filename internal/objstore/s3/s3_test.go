package s3_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvor/internal/objstore/object"
	"salvor/internal/objstore/s3"
	"salvor/internal/objstore/storetest"
	"salvor/internal/testenv/s3gw"
)

const bucket = "salvor-test"

// TestMain sets the keys for all tests, so that they may run in parallel.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s3gw.Access, "AWS_SECRET_ACCESS_KEY": s3gw.Secret, "AWS_SESSION_TOKEN": "", "AWS_REGION": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// start runs a server with a bucket.
func start(t *testing.T) *s3gw.Server {
	t.Helper()
	server := s3gw.Start(t)
	server.MakeBucket(t, bucket)
	return server
}

func open(t *testing.T, url string, o s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// quick is for tests in which the server fails for good.
var quick = s3.Options{Patience: 600 * time.Millisecond, Stall: time.Second}

func TestConformance(t *testing.T) {
	t.Parallel()
	server := start(t)
	n := 0
	storetest.Run(t, func(t *testing.T) object.Store {
		n++
		return open(t, server.URL(bucket, fmt.Sprintf("fleet/host-%d", n)), s3.Options{})
	})
}

// TestWholeBucket is a store without a prefix.
func TestWholeBucket(t *testing.T) {
	t.Parallel()
	server := start(t)
	s := open(t, server.URL("whole", ""), s3.Options{Create: true})
	if err := s.Put(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if s.String() != "s3://whole" {
		t.Errorf("String is %q", s)
	}
	var got []string
	err := s.List(t.Context(), "", func(i object.Info) error { got = append(got, i.Name); return nil })
	if err != nil || len(got) != 1 || got[0] != "a/b" {
		t.Errorf("List: %q, %v", got, err)
	}
}

// wantRefused checks an error that an operator reads: its kind, that it comes
// with a hint, in one line, and gives no secret away.
func wantRefused(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
		return
	}
	text := err.Error()
	for _, w := range append(words, "hint: ") {
		if !strings.Contains(text, w) {
			t.Errorf("error %q does not say %q", text, w)
		}
	}
	if strings.ContainsAny(text, "\n\r") || strings.Contains(text, s3gw.Secret) || strings.Contains(text, "wrong-secret") {
		t.Errorf("bad error text %q", text)
	}
}

func TestOpenRefused(t *testing.T) {
	server := start(t)
	server.AddUser(t, "stranger", "stranger-secret")
	for _, test := range []struct {
		name, access, secret, bucket string
		want                         error
		words                        []string
	}{
		{"wrong secret", s3gw.Access, "wrong-secret", bucket, object.ErrDenied, []string{"SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"}},
		{"unknown access key", "nobody", "wrong-secret", bucket, object.ErrDenied, []string{"InvalidAccessKeyId"}},
		{"somebody else's bucket", "stranger", "stranger-secret", bucket, object.ErrDenied, []string{"AccessDenied", "policy"}},
		{"missing bucket", s3gw.Access, s3gw.Secret, "no-such-bucket", object.ErrNotExist, []string{"NoSuchBucket", "s3://no-such-bucket/p"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s3gw.SetKeys(t, test.access, test.secret)
			_, err := s3.Open(t.Context(), server.URL(test.bucket, "p"), s3.Options{})
			wantRefused(t, err, test.want, test.words...)
		})
	}
}

func TestNoKeys(t *testing.T) {
	server := start(t)
	s3gw.SetKeys(t, "", "")
	t.Setenv("HOME", t.TempDir())
	// A machine of a cloud would have keys for us.
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	began := time.Now()
	_, err := s3.Open(t.Context(), server.URL(bucket, "p"), s3.Options{})
	wantRefused(t, err, object.ErrDenied, "no keys", "AWS_ACCESS_KEY_ID")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v to find no keys", took)
	}
}

func TestCredentialsFile(t *testing.T) {
	server := start(t)
	s3gw.SetKeys(t, "nobody", "wrong-secret") // a file that is named goes first
	file := filepath.Join(t.TempDir(), "keys")
	text := "[default]\naws_access_key_id = " + s3gw.Access + "\naws_secret_access_key = " + s3gw.Secret + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, server.URL(bucket, "p"), s3.Options{CredentialsFile: file})
	if err := s.Put(t.Context(), "x", nil); err != nil {
		t.Error(err)
	}
	_, err := s3.Open(t.Context(), server.URL(bucket, "p"), s3.Options{CredentialsFile: file + ".missing"})
	wantRefused(t, err, object.ErrDenied)
}

func TestCreateBucket(t *testing.T) {
	t.Parallel()
	server := start(t)
	for range 2 {
		s := open(t, server.URL("fresh", "p"), s3.Options{Create: true})
		if err := s.Put(t.Context(), "x", []byte("x")); err != nil {
			t.Error(err)
		}
	}
}

// TestReadOnlyServer is a user who may read but not write.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	server := start(t)
	s := open(t, server.URL(bucket, "p"), s3.Options{})
	if err := s.Put(t.Context(), "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	server.Flags = []string{"--readonly"}
	server.Restart(t)
	wantRefused(t, s.Put(t.Context(), "y", nil), object.ErrDenied, "put y in s3://"+bucket+"/p", "AccessDenied")
	wantRefused(t, s.Delete(t.Context(), "x"), object.ErrDenied, "delete x in ")
	if _, err := s.Get(t.Context(), "x", 0, -1); err != nil {
		t.Errorf("Get: %v", err)
	}
}

// TestBucketRemoved takes the bucket away under an open store: that must not
// look as if only the objects were gone.
func TestBucketRemoved(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.MakeBucket(t, "shortlived")
	s := open(t, server.URL("shortlived", "p"), quick)
	if err := server.Client(t).RemoveBucket(t.Context(), "shortlived"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), "x", 0, -1)
	wantRefused(t, err, object.ErrUnavailable, "NoSuchBucket")
	_, err = s.Stat(t.Context(), "x")
	wantRefused(t, err, object.ErrUnavailable, "NoSuchBucket")
	wantRefused(t, s.Put(t.Context(), "x", nil), object.ErrUnavailable, "NoSuchBucket")
	wantRefused(t, s.List(t.Context(), "", nil), object.ErrUnavailable, "NoSuchBucket")
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "s3:", "s3://", "s3:///p", "s3://Bucket/p", "s3://b/p", "http://bucket/p", "s3://bucket:80/p",
		"s3://AKIA:very-secret@bucket/p", "s3://bucket/../p", "s3://bucket/p//q", "s3://bucket/.p", "s3://bucket/p%00", "s3://bucket/p#f",
		"s3://bucket/p?endpoint=127.0.0.1:7070", "s3://bucket/p?endpoint=ftp://h", "s3://bucket/p?endpoint=http://u:very-secret@h",
		"s3://bucket/p?endpoint=http://h/path", "s3://bucket/p?endpoint=http://h&endpoint=http://i", "s3://bucket/p?secret=very-secret",
		"s3://bucket/p?endpoint=http://a%20b", "s3://bucket/%zz?x=very-secret", "s3://bucket/" + strings.Repeat("p", 600),
	} {
		_, err := s3.Open(t.Context(), url, s3.Options{})
		if !errors.Is(err, object.ErrURL) {
			t.Errorf("Open %q: %v, want ErrURL", url, err)
		} else if strings.Contains(err.Error(), "very-secret") {
			t.Errorf("Open %q gives the secret away: %v", url, err)
		}
	}
}

// TestEchoedSecret is a server that answers with what it should not know.
func TestEchoedSecret(t *testing.T) {
	s3gw.SetKeys(t, s3gw.Access, s3gw.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "session-wrong-secret")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>%s\x1b[31m\n%s %s</Message></Error>", strings.Repeat("x", 280),
			s3gw.Secret, r.Header.Get("X-Amz-Security-Token"))
	}))
	defer server.Close()
	_, err := s3.Open(t.Context(), s3gw.URL(server.URL, bucket, "p"), s3.Options{})
	wantRefused(t, err, object.ErrDenied)
	if err != nil && len(err.Error()) > 600 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

func TestUnknownCertificate(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake fails
	server.StartTLS()
	defer server.Close()
	began := time.Now()
	_, err := s3.Open(t.Context(), s3gw.URL(server.URL, bucket, "p"), s3.Options{})
	wantRefused(t, err, object.ErrUnavailable, "certificate", "SSL_CERT_FILE")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("tried for %v", took)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s3.Open(t.Context(), s3gw.URL(endpoint, bucket, "p"), quick)
	wantRefused(t, err, object.ErrUnavailable, "connection refused", "is the server running")
}
