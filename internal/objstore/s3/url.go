package s3

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
)

// maxPrefix keeps a key with its prefix below S3's 1,024 bytes.
const maxPrefix = 512

var (
	goodBucket = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	goodPrefix = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
)

// location is what a URL says:
//
//	s3://BUCKET[/PREFIX][?endpoint=http[s]://HOST[:PORT]][&region=REGION]
//
// Without an endpoint it is Amazon's. Without a region it is AWS_REGION for
// Amazon, and otherwise the server is asked.
type location struct {
	label  string // for messages: the URL without its query
	bucket string
	prefix string // "" or without slashes at either end
	host   string // with port
	secure bool
	region string // "" ask the server
	lookup minio.BucketLookupType
}

func parse(raw string) (location, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error repeats the URL, which may hold a password.
		return location{}, badURL("it does not parse")
	}
	if u.User != nil {
		return location{}, badURL("keys do not belong into it; hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if u.Scheme != "s3" || u.Opaque != "" || u.Fragment != "" || !goodBucket.MatchString(u.Host) {
		return location{}, badURL("want s3://BUCKET/PREFIX?endpoint=..&region=..")
	}
	loc := location{bucket: u.Host, prefix: strings.Trim(u.Path, "/")}
	if loc.prefix != "" && (len(loc.prefix) > maxPrefix || !goodPrefix.MatchString(loc.prefix)) {
		return location{}, badURL(fmt.Sprintf("prefix %.100q: letters, digits, '_', '-', and dots inside", loc.prefix))
	}
	loc.label = strings.TrimSuffix("s3://"+loc.bucket+"/"+loc.prefix, "/")
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return location{}, badURL("its query does not parse")
	}
	for key, values := range query {
		if (key != "endpoint" && key != "region") || len(values) != 1 {
			return location{}, badURL(fmt.Sprintf("%.40q: only endpoint and region are known, once each", key))
		}
	}
	loc.region = query.Get("region")
	return loc, loc.setEndpoint(query.Get("endpoint"))
}

func badURL(why string) error { return fmt.Errorf("open S3 store: %w: %s", object.ErrURL, why) }

func (l *location) setEndpoint(endpoint string) error {
	if endpoint == "" {
		l.host, l.secure, l.lookup = "s3.amazonaws.com", true, minio.BucketLookupAuto
		if l.region == "" {
			l.region = os.Getenv("AWS_REGION")
		}
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return badURL("its endpoint must be http://HOST:PORT or https://HOST:PORT")
	}
	// Other servers rarely have a name of their own for every bucket.
	l.host, l.secure, l.lookup = u.Host, u.Scheme == "https", minio.BucketLookupPath
	return nil
}

// key is the bucket's key of a name or of the beginning of names.
func (l *location) key(name string) string {
	if l.prefix == "" {
		return name
	}
	return l.prefix + "/" + name
}

// name is the reverse of key; "" when the key is not below the prefix.
func (l *location) name(key string) string {
	if l.prefix == "" {
		return key
	}
	name, ok := strings.CutPrefix(key, l.prefix+"/")
	if !ok {
		return ""
	}
	return name
}
