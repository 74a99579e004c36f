package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

const testURI = "s3://" + storetest.Bucket + "/team"

// refuse lets a server refuse the writes that have a header.
func refuse(header string, status int, code string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || r.Header.Get(header) == "" {
			return false
		}
		storetest.Refuse(w, r, status, code)
		return true
	}
}

// TestProbe: what a server without conditional writes is told, at once; every other one is used.
func TestProbe(t *testing.T) {
	quiet(t)
	for name, test := range map[string]struct {
		server *storetest.Flawed
		want   string // "" if it can be used
		plain  bool
	}{
		"good":                      {server: &storetest.Flawed{}},
		"conditions ignored":        {server: &storetest.Flawed{IgnoreIfMatch: true, IgnoreIfNoneMatch: true}, want: "ignores If-None-Match"},
		"If-Match ignored":          {server: &storetest.Flawed{IgnoreIfMatch: true}, want: "ignores If-Match"},
		"conditions refused":        {server: &storetest.Flawed{Intercept: refuse("If-None-Match", 501, "NotImplemented")}, want: "takes no PUT with If-None-Match (", plain: true},
		"If-Match refused":          {server: &storetest.Flawed{Intercept: refuse("If-Match", 501, "NotImplemented")}, want: "does not overwrite objects on a condition ("},
		"weak ETags":                {server: &storetest.Flawed{ShowETag: func(e string) string { return "W/" + e }}, want: "sends weak ETags"},
		"changed ETags":             {server: &storetest.Flawed{ShowETag: func(e string) string { return e[:5] + `"` }}, want: "refuses If-Match with the ETag"},
		"ETags that do not change":  {server: &storetest.Flawed{ShowETag: func(string) string { return `"1"` }, IgnoreIfMatch: true}, want: "gives two contents the same ETag"},
		"no ETags":                  {server: &storetest.Flawed{ShowETag: func(string) string { return "" }}, want: "sends no ETag"},
		"a cache":                   {server: &storetest.Flawed{OldReads: true}, want: "returns an old content"},
		"trailers refused with 400": {server: &storetest.Flawed{Intercept: refuse("X-Amz-Trailer", 400, "InvalidRequest")}, plain: true},
		"trailers refused with 411": {server: &storetest.Flawed{Intercept: refuse("X-Amz-Trailer", 411, "MissingContentLength")}, plain: true},
		"trailers refused with 501": {server: &storetest.Flawed{Intercept: refuse("X-Amz-Trailer", 501, "NotImplemented")}, plain: true},
		"frames kept":               {server: &storetest.Flawed{KeepFrames: true}, plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := test.server
			st := openTestS3(t, testURI, *server.Serve(t))
			job := Sub(st, "default/job/uid")
			start := time.Now()
			err := Probe(t.Context(), job)
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %s", took)
			}
			if st.plainUploads != test.plain {
				t.Errorf("plain uploads: %v", st.plainUploads)
			}
			if keys := server.Keys(); len(keys) > 0 {
				t.Errorf("left over: %v", keys)
			}
			if test.want != "" {
				if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), st.endpoint+" "+test.want) || !strings.Contains(err.Error(), "conditional writes") {
					t.Errorf("exit code %d: %v", exit.Code(err), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			conditions(t, job)
			content := make([]byte, 1<<20)
			rand.NewChaCha8([32]byte{}).Read(content)
			if err := WriteAll(t.Context(), job, "model", content); err != nil {
				t.Fatal(err)
			}
			if server.Object("/models/team/default/job/uid/model") != string(content) {
				t.Error("the object is not what was written")
			}
		})
	}
}

// TestProbeThroughFaults: lost answers and errors that go away are no flaws of the server.
func TestProbeThroughFaults(t *testing.T) {
	quiet(t)
	spec := *storetest.MinIO(t)
	n, puts := 0, 0
	for name, tamper := range map[string]func(*http.Response) error{
		"every other answer to a PUT lost": func(r *http.Response) error {
			if r.Request.Method != http.MethodPut {
				return nil
			}
			if puts++; puts%2 == 0 {
				return errors.New("lost")
			}
			return nil
		},
		"every third answer lost": func(*http.Response) error {
			if n++; n%3 == 0 {
				return errors.New("lost")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := openTestS3(t, testURI, proxy(t, spec, tamper))
			if err := Probe(t.Context(), st); err != nil || st.plainUploads {
				t.Errorf("%v, plain uploads %v", err, st.plainUploads)
			}
		})
	}
}

func TestProbeBesideOthers(t *testing.T) {
	for name, uri := range map[string]string{"dir": "file://" + t.TempDir(), "minio": "s3://" + storetest.Bucket + "/p"} {
		t.Run(name, func(t *testing.T) {
			spec := storetest.MinIO(t)
			var wg sync.WaitGroup
			for range 8 {
				st, err := Open(t.Context(), uri, spec)
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					if err := Probe(t.Context(), Sub(st, "a")); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			st, err := Open(t.Context(), uri, spec)
			if err != nil {
				t.Fatal(err)
			}
			if left, err := st.List(t.Context(), ""); len(left) > 0 || err != nil {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

// TestProbeErrors: what has to do with the account or the network is said as it is.
func TestProbeErrors(t *testing.T) {
	quiet(t)
	for name, test := range map[string]struct {
		status int
		code   string
		want   contract.ExitCode
		text   string
	}{
		"denied":          {403, "AccessDenied", contract.ExitConfig, "access denied: the account needs"},
		"wrong secret":    {403, "SignatureDoesNotMatch", contract.ExitConfig, "refuses the credentials (SignatureDoesNotMatch)"},
		"no bucket":       {404, "NoSuchBucket", contract.ExitConfig, `bucket "models" does not exist`},
		"away":            {503, "SlowDown", contract.ExitStorage, "could not be reached"},
		"full":            {507, "XMinioStorageFull", contract.ExitStorage, "make room there, or raise the quota"},
		"not implemented": {501, "NotImplemented", contract.ExitConfig, "does not implement what is asked of it"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &storetest.Flawed{Intercept: func(w http.ResponseWriter, r *http.Request) bool {
				storetest.Refuse(w, r, test.status, test.code)
				return true
			}}
			st := openTestS3(t, testURI, *server.Serve(t))
			st.timing.patience = time.Second / 2
			if err := Probe(t.Context(), st); exit.Code(err) != test.want || !strings.Contains(err.Error(), test.text) {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			} else if test.want == contract.ExitStorage && !strings.HasPrefix(err.Error(), "s3://models/team/ at ") {
				t.Errorf("it does not name the folder: %v", err)
			}
		})
	}
}

// TestPlainUploads sends what probe falls back to, to a real server.
func TestPlainUploads(t *testing.T) {
	st := openTestS3(t, testURI, *storetest.MinIO(t))
	st.plainUploads = true
	conformance(t, Sub(st, "of-its-own"))
	start := time.Now()
	if err := Probe(t.Context(), st); err != nil {
		t.Error(err)
	}
	t.Logf("a probe takes %s", time.Since(start))
	damaged := &damagedReader{Reader: bytes.NewReader(bytes.Repeat([]byte("x"), 1<<20))}
	st.timing.patience = time.Second / 2
	quiet(t)
	if _, err := st.Put(t.Context(), "damaged", damaged, 1<<20); err == nil {
		t.Error("the server took an object whose checksum was that of another content")
	}
}

// damagedReader returns another content when it is read for the second time.
type damagedReader struct {
	*bytes.Reader
	seeks int
}

func (d *damagedReader) Seek(offset int64, whence int) (int64, error) {
	d.seeks++
	return d.Reader.Seek(offset, whence)
}

func (d *damagedReader) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if d.seeks > 1 && n > 0 {
		p[0] = byte('a' + d.seeks%20)
	}
	return n, err
}

// TestQuota: a bucket that is full is as one that is away, until somebody makes room.
func TestQuota(t *testing.T) {
	quiet(t)
	for _, code := range []string{"XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "XMinioStorageFull"} {
		t.Run(code, func(t *testing.T) {
			tries := 0
			server := &storetest.Flawed{Intercept: func(w http.ResponseWriter, r *http.Request) bool {
				if tries++; r.Method != http.MethodPut || tries > 3 {
					return false
				}
				storetest.Refuse(w, r, http.StatusBadRequest, code)
				return true
			}}
			st := openTestS3(t, testURI, *server.Serve(t))
			if err := WriteAll(t.Context(), st, "k", []byte("x")); err != nil {
				t.Errorf("after room was made: %v", err)
			}
			tries, st.timing.patience = -1000, time.Second/2
			err := WriteAll(t.Context(), st, "k", []byte("x"))
			if exit.Code(err) != contract.ExitStorage || !strings.Contains(err.Error(), "make room there, or raise the quota") {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}

// TestCredentialsThatWorkedBefore: a Secret was changed, or a token expired, while the trainer ran.
func TestCredentialsThatWorkedBefore(t *testing.T) {
	quiet(t)
	for _, code := range []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"} {
		t.Run(code, func(t *testing.T) {
			refused := false
			server := &storetest.Flawed{Intercept: func(w http.ResponseWriter, r *http.Request) bool {
				if refused {
					storetest.Refuse(w, r, http.StatusForbidden, code)
				}
				return refused
			}}
			spec := *server.Serve(t)
			before, other := openTestS3(t, testURI, spec), openTestS3(t, testURI, spec)
			refused = true
			if err := WriteAll(t.Context(), before, "k", nil); exit.Code(err) != contract.ExitConfig || errors.Is(err, ErrCredentials) {
				t.Errorf("never worked: %v", err)
			}
			refused = false
			if _, _, err := before.Get(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			refused = true
			for name, st := range map[string]Store{"same store": before, "another store of the run": other} {
				start := time.Now()
				err := WriteAll(t.Context(), st, "k", nil)
				if exit.Code(err) != contract.ExitStorage || !errors.Is(err, ErrCredentials) || time.Since(start) > time.Second ||
					!strings.Contains(err.Error(), fmt.Sprintf("took the credentials before and refuses them now (%s)", code)) {
					t.Errorf("%s: exit code %d: %v", name, exit.Code(err), err)
				}
			}
			t.Setenv("AWS_ACCESS_KEY_ID", "another")
			if err := WriteAll(t.Context(), openTestS3(t, testURI, spec), "k", nil); exit.Code(err) != contract.ExitConfig {
				t.Errorf("another account: %v", err)
			}
		})
	}
}

// TestCredentialsThatCannotBeRight are refused before the first request, without a word of their value.
func TestCredentialsThatCannotBeRight(t *testing.T) {
	for name, test := range map[string]struct {
		key, value string
		want       string
	}{
		"newline at the end of the key":    {"AWS_ACCESS_KEY_ID", "hunter2\n", "AWS_ACCESS_KEY_ID ends in a newline"},
		"newline at the end of the secret": {"AWS_SECRET_ACCESS_KEY", "hunter2\r\n", "AWS_SECRET_ACCESS_KEY ends in a newline"},
		"newline at the end of the token":  {"AWS_SESSION_TOKEN", "hunter2\n", "AWS_SESSION_TOKEN ends in a newline"},
		"only a newline":                   {"AWS_SECRET_ACCESS_KEY", "\n", "AWS_SECRET_ACCESS_KEY ends in a newline"},
		"space":                            {"AWS_SECRET_ACCESS_KEY", "hunter2 hunter2", "AWS_SECRET_ACCESS_KEY holds white space"},
		"two lines":                        {"AWS_SECRET_ACCESS_KEY", "hunter2\nhunter2", "AWS_SECRET_ACCESS_KEY holds white space"},
		"a quotation mark of a word processor": {"AWS_ACCESS_KEY_ID", "“hunter2”",
			"AWS_ACCESS_KEY_ID holds a character that is no printable ASCII"},
		"half of them":       {"AWS_SECRET_ACCESS_KEY", "", "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"},
		"the other half":     {"AWS_ACCESS_KEY_ID", "", "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not"},
		"an older name":      {"AWS_SECRET_KEY", "hunter2\n", "AWS_SECRET_KEY ends in a newline"},
		"every one is right": {"AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEPT//////////wEaCXVzLWVhc3QtMSJ=", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range slices.Concat(accessKeyNames[:1], secretKeyNames[:1]) {
				t.Setenv(key, "a")
			}
			t.Setenv(test.key, test.value)
			_, err := Open(t.Context(), testURI, nil)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") ||
				!strings.Contains(err.Error(), "spec.storage.s3.credentialsSecret") {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}
