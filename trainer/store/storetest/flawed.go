package storetest

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Flawed is an S3 server in memory that lacks what some servers lack. Without a flaw it does what package store needs. It
// checks no signatures. The fields must be set before the first request.
type Flawed struct {
	// Intercept, if not nil, may answer a request itself, for example by Refuse, and then returns true.
	Intercept func(w http.ResponseWriter, r *http.Request) bool
	// IgnoreIfMatch and IgnoreIfNoneMatch let it write whatever the conditions are.
	IgnoreIfMatch, IgnoreIfNoneMatch bool
	// KeepFrames lets it store the frames and checksums that come with a content.
	KeepFrames bool
	// OldReads lets it return the first content of an object for ever, as a cache may.
	OldReads bool
	// ShowETag, if not nil, changes the ETags on their way to the client.
	ShowETag func(etag string) string

	mu      sync.Mutex
	objects map[string][]byte
	first   map[string][]byte
	puts    int
}

// Serve starts the server, puts an account into the environment, and stops the server with the test.
func (f *Flawed) Serve(t *testing.T) *v1.S3Spec {
	t.Helper()
	f.objects, f.first = map[string][]byte{}, map[string][]byte{}
	server := httptest.NewServer(http.HandlerFunc(f.handle))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	return &v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"}
}

// Keys are the objects that are there, as /bucket/key.
func (f *Flawed) Keys() (keys []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Object is the content of /bucket/key.
func (f *Flawed) Object(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.objects[key])
}

// Puts is the number of requests to write so far.
func (f *Flawed) Puts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.puts
}

// Refuse answers with an error of S3.
func Refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s, says the test</Message></Error>", code, code)
}

func (f *Flawed) handle(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPut {
		f.puts++
	}
	if f.Intercept != nil && f.Intercept(w, r) {
		return
	}
	key := r.URL.Path
	switch {
	case r.Method == http.MethodPut:
		f.put(w, r, key)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		delete(f.first, key)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Query().Has("list-type"):
		f.list(w, key, r.URL.Query().Get("prefix"))
	default:
		content, ok := f.objects[key]
		if !ok {
			Refuse(w, r, http.StatusNotFound, "NoSuchKey")
			return
		}
		if f.OldReads {
			content = f.first[key]
		}
		w.Header().Set("ETag", f.etag(content))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Write(content)
	}
}

func (f *Flawed) etag(content []byte) string {
	etag := etagOf(content)
	if f.ShowETag != nil {
		return f.ShowETag(etag)
	}
	return etag
}

func etagOf(content []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(content)) }

func (f *Flawed) put(w http.ResponseWriter, r *http.Request, key string) {
	content, err := f.content(r)
	if err != nil {
		Refuse(w, r, http.StatusBadRequest, "InvalidRequest")
		return
	}
	old, exists := f.objects[key]
	ifMatch, ifNoneMatch := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if ifNoneMatch == "*" && exists && !f.IgnoreIfNoneMatch || ifMatch != "" && (!exists || ifMatch != etagOf(old)) && !f.IgnoreIfMatch {
		Refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	if !exists {
		f.first[key] = content
	}
	f.objects[key] = content
	w.Header().Set("ETag", f.etag(content))
}

// content reads the body, takes it out of its frames, and checks the sums in the header.
func (f *Flawed) content(r *http.Request) ([]byte, error) {
	sha := r.Header.Get("X-Amz-Content-Sha256")
	if strings.HasPrefix(sha, "STREAMING-") && !f.KeepFrames {
		return unframe(r.Body)
	}
	content, err := io.ReadAll(r.Body)
	if err != nil || f.KeepFrames && strings.HasPrefix(sha, "STREAMING-") {
		return content, err
	}
	if sum := sha256.Sum256(content); len(sha) == 64 && sha != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("SHA-256 %x", sum)
	}
	if sum := md5.Sum(content); r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("MD5 %x", sum)
	}
	return content, nil
}

// unframe decodes the format aws-chunked: size;chunk-signature=…\r\n content \r\n, until a size of 0.
func unframe(body io.Reader) ([]byte, error) {
	var content bytes.Buffer
	for in := bufio.NewReader(body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			io.Copy(io.Discard, in)
			return content.Bytes(), nil
		}
		if _, err := io.CopyN(&content, in, n); err != nil {
			return nil, err
		}
		in.Discard(len("\r\n"))
	}
}

func (f *Flawed) list(w http.ResponseWriter, bucket, prefix string) {
	bucket = "/" + strings.Trim(bucket, "/") + "/"
	type object struct {
		Key          string
		Size         int
		LastModified string
	}
	result := struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []object
	}{}
	for path, content := range f.objects {
		if key, ok := strings.CutPrefix(path, bucket); ok && strings.HasPrefix(key, prefix) {
			result.Contents = append(result.Contents, object{key, len(content), time.Now().UTC().Format(time.RFC3339)})
		}
	}
	slices.SortFunc(result.Contents, func(a, b object) int { return strings.Compare(a.Key, b.Key) })
	xml.NewEncoder(w).Encode(result)
}
