package data

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/network"
)

// serve serves files below /data/.
func serve(t *testing.T, files map[string][]byte) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[strings.TrimPrefix(r.URL.Path, "/data/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"`+string(sumOf(content))+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(server.Close)
	return server
}

func fromWeb(t *testing.T, format v1.DatasetFormat, uri, cacheDir string) (*Dataset, error) {
	return load(t.Context(), v1.DatasetSpec{Format: format, URI: uri}, 0, nil, cacheDir)
}

// Folders are tried for the well-known names; archives are named by the URI.
func TestWeb(t *testing.T) {
	quiet(t)
	want, err := loadAt(t, v1.CIFAR10, folder(t, cifarFolderOf()), 0)
	if err != nil {
		t.Fatal(err)
	}
	pack := tarGz("", cifarFolderOf())
	for name, test := range map[string]struct {
		files map[string][]byte
		path  string
	}{
		"loose":          {cifarFolderOf(), "/data"},
		"in a folder":    {renamed(cifarFolderOf(), "", "cifar-10-batches-bin/"), "/data/"},
		"archive":        {map[string][]byte{"cifar-10-binary.tar.gz": pack}, "/data"},
		"its own name":   {map[string][]byte{"x/mine.tgz": pack}, "/data/x/mine.tgz"},
		"signed address": {map[string][]byte{"mine.tar.gz": pack}, "/data/mine.tar.gz?signature=secret"},
		"parquet": {map[string][]byte{"plain_text/train-00000-of-00001.parquet": parquetOf(t, huggingFaceRows(t, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5)),
			"plain_text/test-00000-of-00001.parquet": parquetOf(t, huggingFaceRows(t, 9, 8))}, "/data"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, test.files)
			got, err := fromWeb(t, v1.CIFAR10, server.URL+test.path, t.TempDir())
			if err != nil || !reflect.DeepEqual(want, got) {
				t.Fatal(err)
			}
			if _, err := fromWeb(t, v1.CIFAR10, server.URL+test.path, ""); err != nil {
				t.Errorf("without a cache: %v", err)
			}
		})
	}
	server := serve(t, map[string][]byte{"pets.tar": tarOf("", imageFolderOf(t)), "train-images-idx3-ubyte": nil})
	if d, err := fromWeb(t, v1.ImageFolder, server.URL+"/data/pets.tar", ""); err != nil || d.Train.N != 5 {
		t.Error(err)
	}
	for format, want := range map[v1.DatasetFormat]string{
		v1.ImageFolder: "a web server cannot be asked what it has: name the archive itself in the URI",
		v1.CIFAR100:    "it holds nothing; a web server cannot be asked",
	} {
		_, err := fromWeb(t, format, server.URL+"/data/", "")
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: exit code %d: %v", format, exit.Code(err), err)
		}
	}
}

// hasty is a web store that does not wait as long as the real one.
func hasty(t *testing.T, uri string, patience, stall time.Duration) *web {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWeb(u)
	if err != nil {
		t.Fatal(err)
	}
	w.patience, w.stall = patience, stall
	return w
}

func TestWebErrors(t *testing.T) {
	quiet(t)
	var requests atomic.Int64
	mux := http.NewServeMux()
	for path, code := range map[string]int{"/403": 403, "/401": 401, "/404": 404, "/410": 410, "/500": 500, "/503": 503, "/429": 429, "/400": 400} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { requests.Add(1); w.WriteHeader(code) })
	}
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/loop?token=secret", http.StatusFound)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	defer server.Close()
	secure := httptest.NewTLSServer(mux)
	secure.Config.ErrorLog = nil
	defer secure.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	for uri, test := range map[string]struct {
		code contract.ExitCode
		want string
	}{
		server.URL + "/404":                  {contract.ExitUnexpected, "/404: not found"}, // the caller adds what it needs
		server.URL + "/410":                  {contract.ExitUnexpected, "not found"},
		server.URL + "/403?token=secret":     {contract.ExitConfig, "403 Forbidden: make the file public, use a signed URL, or put it into a bucket"},
		server.URL + "/401":                  {contract.ExitConfig, "401 Unauthorized"},
		server.URL + "/400":                  {contract.ExitData, "400 Bad Request"},
		server.URL + "/500?token=secret":     {contract.ExitStorage, "500 Internal Server Error"},
		server.URL + "/503":                  {contract.ExitStorage, "503 Service Unavailable"},
		server.URL + "/429":                  {contract.ExitStorage, "429 Too Many Requests"},
		server.URL + "/loop":                 {contract.ExitData, "is redirected in a circle"},
		server.URL + "/hang?token=secret":    {contract.ExitStorage, "no answer for 50ms"},
		secure.URL + "/404":                  {contract.ExitConfig, "trust its certificate with SSL_CERT_FILE"},
		"https://" + server.URL[7:] + "/404": {contract.ExitConfig, "correct http or https"},
		"http://" + closed.Addr().String():   {contract.ExitStorage, "connection refused"},
	} {
		requests.Store(0)
		stall := 10 * time.Second // on a busy machine nothing but the hanging server may seem silent
		if strings.Contains(uri, "/hang") {
			stall = 50 * time.Millisecond
		}
		_, _, err := hasty(t, uri, 300*time.Millisecond, stall).Get(t.Context(), "")
		if exit.Code(err) != test.code || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: exit code %d: %v", uri, exit.Code(err), err)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("a secret is shown: %v", err)
		}
		if n := requests.Load(); test.code == contract.ExitStorage && strings.HasPrefix(uri, server.URL) && n == 1 || test.code == contract.ExitConfig && n > 1 {
			t.Errorf("%s: %d requests", uri, n)
		}
	}
	if u, _ := url.Parse("https://me:password@host/x"); u != nil {
		if _, err := newWeb(u); exit.Code(err) != contract.ExitConfig || strings.Contains(err.Error(), "password") {
			t.Errorf("got %v", err)
		}
	}
	_, err = fromWeb(t, v1.CIFAR10, server.URL+"/404/x.tar.gz", "")
	if exit.Code(err) != contract.ExitData || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.uri: "+server.URL+"/404/x.tar.gz: not found") {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := hasty(t, server.URL+"/hang", time.Second, time.Second).Get(ctx, ""); err == nil || ctx.Err() == nil {
		t.Errorf("cancelled: %v", err)
	}
}

// A signature stays with the server that it is for, and out of all messages.
func TestSignaturesAreKept(t *testing.T) {
	var logged bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	defer slog.SetDefault(old)
	pack := tarOf("", imageFolderOf(t))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Referer() != "" {
			t.Errorf("the next server is told %s", r.Referer())
		}
		w.Write(pack)
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good.tar":
			http.Redirect(w, r, other.URL+"/pets.tar?token=SECRET", http.StatusFound)
		case "/bad.tar":
			w.Header().Set("Location", "http://x/%zz?token=SECRET")
			w.WriteHeader(http.StatusFound)
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer first.Close()
	t.Setenv(network.EnvAllowed, "127.0.0.1")
	if d, err := fromWeb(t, v1.ImageFolder, first.URL+"/good.tar?signature=SECRET", t.TempDir()); err != nil || d.Train.N != 5 {
		t.Error(err)
	}
	for uri, want := range map[string]string{
		first.URL + "/bad.tar?signature=SECRET": "redirects to an address that is none",
		first.URL + "/tea.tar?signature=SECRET": "/tea.tar: the server answers 418",
		"httpss://host/x.tar?signature=SECRET":  `"httpss://host/x.tar" must be`,
		"httpss://host/x?signature=SECRET":      "must be",
		"https://host/%zz.tar?signature=SECRET": `"https://host/%zz.tar" is not a URI: invalid URL escape`,
		"https://me:SECRET@host/x.tar":          "must not hold an account",
	} {
		_, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, opener(t), t.TempDir())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") || !strings.HasPrefix(err.Error(), "spec.dataset.uri: ") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if strings.Contains(logged.String(), "SECRET") || logged.Len() == 0 {
		t.Errorf("the log: %s", logged.String())
	}
}

// A server leads nobody to another one, and nobody asks the cloud for its credentials.
func TestWebLeadsNowhereElse(t *testing.T) {
	quiet(t)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/x.tar?token=SECRET", http.StatusFound))
	defer first.Close()
	for uri, want := range map[string]string{
		first.URL + "/x.tar": `redirects to another host or protocol, "` + other.URL + `": name that in the URI, or allow the host by TRAINER_ALLOWED_HOSTS`,
		"http://169.254.169.254/latest/meta-data/iam/security-credentials/x.tar": "169.254.169.254 is link-local or a metadata service of a cloud, which no job may reach: correct the address, or allow it by TRAINER_ALLOWED_HOSTS",
		"http://[fd00:ec2::254]/x.tar":                                           "fd00:ec2::254 is link-local or a metadata service",
	} {
		_, err := fromWeb(t, v1.ImageFolder, uri, "")
		if exit.Code(err) != contract.ExitConfig || !strings.HasSuffix(fmt.Sprint(err), want) && !strings.Contains(fmt.Sprint(err), want+" of") || strings.Contains(fmt.Sprint(err), "SECRET") {
			t.Errorf("exit code %d: %v", exit.Code(err), err)
		}
	}
}

// flaky sends a part of the file, and then breaks the connection or says nothing any more.
type flaky struct {
	content []byte
	part    int
	stall   bool
	ranges  bool
	changes bool
	calls   atomic.Int64
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := f.calls.Add(1)
	etag := `"one"`
	if f.changes && n > 1 {
		etag = `"two"`
	}
	w.Header().Set("ETag", etag)
	from := 0
	if f.ranges {
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(f.content)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	to := len(f.content)
	if f.ranges && from+f.part < to {
		to = from + f.part
	} else if !f.ranges && n == 1 {
		to = f.part
	}
	w.Write(f.content[from:to])
	if to == len(f.content) {
		return
	}
	w.(http.Flusher).Flush()
	if f.stall {
		<-r.Context().Done()
		return
	}
	panic(http.ErrAbortHandler)
}

func TestWebDownloadsAreResumed(t *testing.T) {
	quiet(t)
	content := noise(1, 100, 100, 3).Pixels
	for name, f := range map[string]*flaky{
		"breaks":            {ranges: true},
		"stalls":            {ranges: true, stall: true},
		"breaks, no ranges": {},
	} {
		f.content, f.part = content, 12_000
		server := httptest.NewServer(f)
		r, info, err := hasty(t, server.URL+"/x.tar", 10*time.Second, 300*time.Millisecond).Get(t.Context(), "x.tar")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content) || info.Size != int64(len(content)) || f.calls.Load() < 2 {
			t.Errorf("%s: %d bytes in %d requests: %v", name, len(got), f.calls.Load(), err)
		}
		r.Close()
		server.Close()
	}
	f := &flaky{content: content, part: 12_000, ranges: true, changes: true}
	server := httptest.NewServer(f)
	defer server.Close()
	r, _, err := hasty(t, server.URL+"/x.tar", 10*time.Second, 300*time.Millisecond).Get(t.Context(), "x.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); exit.Code(err) != contract.ExitStorage || !strings.Contains(fmt.Sprint(err), "changed while it was read") {
		t.Errorf("got %v", err)
	}
}
