package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

func openTestS3(t *testing.T, uri string, spec v1.S3Spec) *s3Store {
	t.Helper()
	st, err := Open(t.Context(), uri, &spec)
	if err != nil {
		t.Fatal(err)
	}
	s := st.(*s3Store)
	s.timing = timing{patience: 5 * time.Second, stall: 5 * time.Second}
	return s
}

func quiet(t *testing.T) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}

func TestS3ErrorsSayWhatToDo(t *testing.T) {
	spec := *storetest.MinIO(t)
	uri := "s3://" + storetest.Bucket
	for name, test := range map[string]struct {
		uri    string
		key    string
		secret string
		want   string
	}{
		"no such bucket":   {"s3://nowhere/p", storetest.AccessKey, storetest.SecretKey, `bucket "nowhere" does not exist at ` + spec.Endpoint + ": create it"},
		"wrong secret":     {uri, storetest.AccessKey, "hunter2hunter2", "SignatureDoesNotMatch"},
		"wrong access key": {uri, "nobody", "hunter2hunter2", "InvalidAccessKeyId"},
		"no credentials":   {uri, "", "", "wants credentials: set AWS_ACCESS_KEY_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir()) // no ~/.aws
			t.Setenv("AWS_ACCESS_KEY_ID", test.key)
			t.Setenv("AWS_SECRET_ACCESS_KEY", test.secret)
			st := openTestS3(t, test.uri, spec)
			_, _, getErr := st.Get(t.Context(), "k")
			_, putErr := st.Put(t.Context(), "k", strings.NewReader("x"), 1)
			_, putIfErr := st.PutIf(t.Context(), "k", []byte("x"), "")
			_, listErr := st.List(t.Context(), "")
			for _, err := range []error{getErr, putErr, putIfErr, listErr} {
				if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestS3Unreachable(t *testing.T) {
	quiet(t)
	server := httptest.NewServer(nil)
	server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
	st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
	st.timing.patience = time.Second / 2
	_, err := st.Put(t.Context(), "k", strings.NewReader("x"), 1)
	if exit.Code(err) != contract.ExitStorage || !strings.Contains(err.Error(), "s3://models/p/k at "+server.URL+" could not be reached for") {
		t.Errorf("got %v", err)
	}
	st.timing.patience = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, _, err := st.Get(ctx, "k"); !errors.Is(err, context.Canceled) || exit.Code(err) != contract.ExitStopped {
		t.Errorf("cancelled: %v", err)
	}
}

func TestS3RetriesServerErrors(t *testing.T) {
	quiet(t)
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 6 {
			http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
			return
		}
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
	}))
	defer server.Close()
	st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
	if _, _, err := st.Get(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after %d calls: %v", calls.Load(), err)
	}
}

func TestS3WrongRegion(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>")
	}))
	defer server.Close()
	st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
	_, err := st.PutIf(t.Context(), "k", []byte("x"), "")
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), `bucket "models" is in another region (eu-west-1): correct spec.storage.s3.region`) {
		t.Errorf("got %v", err)
	}
}

// The endpoint may be any server that the trainer reaches. What it says is not for the author of the job.
func TestS3WordsOfTheServerAreNotTold(t *testing.T) {
	const secret = "hunter2hunter2"
	for name, c := range map[string]struct {
		status     int
		head, body string
		want       string
	}{
		"a page":           {500, "", secret, "500 Internal Server Error"},
		"a page, found":    {200, "", "<ListBucketResult></" + secret + ">", "the server does not speak S3"},
		"a message":        {503, "", "<Error><Code>SlowDown</Code><Message>" + secret + "</Message></Error>", "503 Service Unavailable (SlowDown)"},
		"a code":           {500, "", "<Error><Code>" + secret + "</Code></Error>", "500 Internal Server Error"},
		"a code, no retry": {400, "", "<Error><Code>" + secret + "</Code><Resource>" + secret + "</Resource></Error>", "400 Bad Request"},
		"a region":         {400, "", "<Error><Code>InvalidRegion</Code><Region>" + strings.ToUpper(secret) + "</Region></Error>", "is in another region: correct"},
		"a header":         {500, "X-Minio-Error-Desc", "", "500 Internal Server Error"},
		"a code in one":    {500, "X-Minio-Error-Code", "", "500 Internal Server Error"},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			old := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
			defer slog.SetDefault(old)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.head != "" {
					w.Header().Set(c.head, secret)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer server.Close()
			st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
			st.timing.patience = time.Second / 4
			_, err := st.List(t.Context(), "")
			if told := strings.ToLower(fmt.Sprint(err) + logged.String()); !strings.Contains(fmt.Sprint(err), c.want) || strings.Contains(told, secret) {
				t.Errorf("got %v, want %s; the log: %s", err, c.want, logged.String())
			}
		})
	}
}

func TestS3MetadataOfACloudIsRefused(t *testing.T) {
	quiet(t)
	for _, endpoint := range []string{"http://169.254.169.254", "http://[::ffff:169.254.169.254]", "http://[fd00:ec2::254]"} {
		st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: endpoint, Region: "us-east-1"})
		if _, err := st.List(t.Context(), ""); exit.Code(err) != contract.ExitConfig || !strings.Contains(fmt.Sprint(err), "is link-local or a metadata service of a cloud") {
			t.Errorf("%s: exit code %d: %v", endpoint, exit.Code(err), err)
		}
	}
}

func TestS3NoAnswer(t *testing.T) {
	quiet(t)
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
	st.timing = timing{patience: 100 * time.Millisecond, stall: 200 * time.Millisecond}
	if _, _, err := st.Get(t.Context(), "k"); exit.Code(err) != contract.ExitStorage || !strings.HasSuffix(err.Error(), "no answer for 200ms") {
		t.Errorf("got %v", err)
	}
}

// proxy stands between the store and MinIO; tamper may change the answer to a request.
func proxy(t *testing.T, spec v1.S3Spec, tamper func(*http.Response) error) v1.S3Spec {
	t.Helper()
	target, err := url.Parse(spec.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		ModifyResponse: tamper,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // hang up
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	spec.Endpoint = server.URL
	return spec
}

// body cuts off or stalls an answer after n bytes.
type body struct {
	io.ReadCloser
	n     int
	stall time.Duration
}

func (b *body) Read(p []byte) (int, error) {
	if b.n == 0 {
		time.Sleep(b.stall)
		return 0, errors.New("cut off")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.n)])
	b.n -= n
	return n, err
}

func TestS3ResumesDownloads(t *testing.T) {
	spec := *storetest.MinIO(t)
	content := strings.Repeat("0123456789", 50_000)
	uri := "s3://" + storetest.Bucket + "/p"
	if _, err := openTestS3(t, uri, spec).Put(t.Context(), "k", strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	for name, stall := range map[string]time.Duration{"cut off": 0, "stalled": time.Second} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			st := openTestS3(t, uri, proxy(t, spec, func(r *http.Response) error {
				if requests.Add(1) <= 2 {
					r.Body = &body{r.Body, 200_000, stall}
				}
				return nil
			}))
			st.timing.stall = 200 * time.Millisecond
			data, _, err := ReadAll(t.Context(), st, "k")
			if string(data) != content || err != nil {
				t.Errorf("%d bytes, %v", len(data), err)
			}
			if n := requests.Load(); n != 3 {
				t.Errorf("%d requests", n)
			}
		})
	}
	for name, etag := range map[string]func(string) string{"weak ETag": func(e string) string { return "W/" + e }, "no ETag": func(string) string { return "" }} {
		t.Run(name, func(t *testing.T) {
			cut := false
			st := openTestS3(t, uri, proxy(t, spec, func(r *http.Response) error {
				if !cut {
					r.Body, cut = &body{r.Body, 200_000, 0}, true
				}
				r.Header.Set("ETag", etag(r.Header.Get("ETag")))
				return nil
			}))
			if data, _, err := ReadAll(t.Context(), st, "k"); string(data) != content || err != nil {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
	t.Run("replaced meanwhile, weak ETag", func(t *testing.T) {
		n := 0
		st := openTestS3(t, uri, proxy(t, spec, func(r *http.Response) error {
			n++
			r.Body = &body{r.Body, 200_000, 0}
			r.Header.Set("ETag", fmt.Sprintf(`W/"%d"`, n))
			return nil
		}))
		if _, _, err := ReadAll(t.Context(), st, "k"); !errors.Is(err, ErrPreconditionFailed) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("replaced meanwhile", func(t *testing.T) {
		st := openTestS3(t, uri, proxy(t, spec, func(r *http.Response) error {
			r.Body = &body{r.Body, 200_000, 0}
			return nil
		}))
		r, _, err := st.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := openTestS3(t, uri, spec).Put(t.Context(), "k", strings.NewReader("other"), 5); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, ErrPreconditionFailed) {
			t.Errorf("got %v", err)
		}
	})
}

// A PUT whose answer is lost is sent again by the client; the server refuses the second one.
func TestS3LostAnswer(t *testing.T) {
	spec := *storetest.MinIO(t)
	var puts atomic.Int32
	st := openTestS3(t, "s3://"+storetest.Bucket+"/p", proxy(t, spec, func(r *http.Response) error {
		if r.Request.Method == http.MethodPut && puts.Add(1) == 1 {
			return errors.New("lost")
		}
		return nil
	}))
	if _, err := st.PutIf(t.Context(), "latest.json", []byte("mine"), ""); !errors.Is(err, ErrPreconditionFailed) {
		t.Errorf("got %v", err)
	}
	if data, _, err := ReadAll(t.Context(), st, "latest.json"); string(data) != "mine" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
}

func TestOpenS3RefusesAccountsInTheEndpoint(t *testing.T) {
	_, err := Open(t.Context(), "s3://b", &v1.S3Spec{Endpoint: "http://me:hunter2@minio:9000"})
	if exit.Code(err) != contract.ExitConfig || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
