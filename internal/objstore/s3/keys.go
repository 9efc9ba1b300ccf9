package s3

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// metadataWait bounds each question to a machine's metadata service. On a
// machine that has none nobody answers, and most have none.
const metadataWait = 2 * time.Second

var errNoKeys = errors.New("no keys found")

// keyError marks an error in finding keys: the server was not even asked.
type keyError struct{ error }

func (e keyError) Unwrap() error { return e.error }

// keys finds the keys and remembers which secrets must not get into messages.
// It implements credentials.Provider, whose caller serialises the calls.
type keys struct {
	from credentials.Provider

	mu      sync.Mutex
	secrets []string
}

func newKeys(file string) *keys {
	if file != "" {
		return &keys{from: &credentials.FileAWSCredentials{Filename: file}}
	}
	providers := []credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.EnvMinio{},
		&credentials.FileAWSCredentials{},
		&credentials.FileMinioClient{},
	}
	// minio-go does not know this switch of Amazon's own tools.
	if !strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		providers = append(providers, &credentials.IAM{Client: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: metadataWait},
			Timeout:   metadataWait,
		}})
	}
	return &keys{from: &credentials.Chain{Providers: providers}}
}

// RetrieveWithCredContext implements credentials.Provider.
func (k *keys) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := k.from.RetrieveWithCredContext(cc)
	if err == nil && (v.AccessKeyID == "" || v.SecretAccessKey == "") {
		err = errNoKeys
	}
	if err != nil {
		return credentials.Value{}, keyError{fmt.Errorf("find keys: %w", err)}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets = nil
	for _, secret := range []string{v.SecretAccessKey, v.SessionToken} {
		if secret != "" {
			k.secrets = append(k.secrets, secret)
		}
	}
	return v, nil
}

// Retrieve implements credentials.Provider.
func (k *keys) Retrieve() (credentials.Value, error) { return k.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (k *keys) IsExpired() bool { return k.from.IsExpired() }

// hide takes the secrets out of a message: a server, or a proxy before it, may
// send back in an error what it was sent.
func (k *keys) hide(message string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, secret := range k.secrets {
		message = strings.ReplaceAll(message, secret, "(secret)")
	}
	return message
}
