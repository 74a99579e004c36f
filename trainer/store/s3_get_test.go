package store

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// A server, or what is before it, need not say how large an object is.
func TestS3WithoutLength(t *testing.T) {
	quiet(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secretsecret")
	const content = "what is read"
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		from := 0
		if r.Header.Get("Range") == "bytes=5-" {
			from = 5
			w.WriteHeader(http.StatusPartialContent)
		}
		w.(http.Flusher).Flush() // so there is no Content-Length
		if calls.Add(1) == 1 {
			io.WriteString(w, content[:5])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, content[from:])
	}))
	defer server.Close()
	st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
	data, info, err := ReadAll(t.Context(), st, "k")
	if string(data) != content || info.Size != int64(len(content)) || err != nil || calls.Load() != 2 {
		t.Errorf("%q of %d bytes in %d requests: %v", data, info.Size, calls.Load(), err)
	}
}
