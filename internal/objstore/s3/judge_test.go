package s3

import (
	"errors"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"salvor/internal/objstore/object"
)

// Servers have several names for a key that they do not know.
func TestUnknownAccessKey(t *testing.T) {
	s := &Store{keys: newKeys(""), loc: location{label: "s3://b"}}
	for code, status := range map[string]int{"InvalidAccessKeyId": 403, "XAdminUserNotFound": 404} {
		err := s.explain("open", "", minio.ErrorResponse{Code: code, StatusCode: status, Message: "no"})
		if !errors.Is(err, object.ErrDenied) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
			t.Errorf("%s: %v", code, err)
		}
	}
}
