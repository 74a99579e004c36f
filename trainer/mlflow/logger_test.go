package mlflow

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// server is an MLflow of one experiment, as its REST API is documented.
type server struct {
	mu      sync.Mutex
	exists  bool // the experiment
	runs    []string
	roots   map[string]string // run by root
	params  map[string]string
	tags    map[string]string
	metrics []metric
	status  []Status
	headers http.Header
	broken  atomic.Bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers = r.Header.Clone()
	if s.broken.Load() {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	var in struct {
		RunID   string   `json:"run_id"`
		Filter  string   `json:"filter"`
		Params  []pair   `json:"params"`
		Tags    []pair   `json:"tags"`
		Metrics []metric `json:"metrics"`
		Status  Status   `json:"status"`
	}
	json.NewDecoder(r.Body).Decode(&in)
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error_code":%q,"message":"you may\u001b not"}`, code)
	}
	switch strings.TrimPrefix(r.URL.Path, "/mlflow/api/2.0/mlflow/") {
	case "experiments/get-by-name":
		if !s.exists {
			refuse(404, "RESOURCE_DOES_NOT_EXIST")
			return
		}
		fmt.Fprint(w, `{"experiment":{"experiment_id":"7"}}`)
	case "experiments/create":
		s.exists = true
		fmt.Fprint(w, `{"experiment_id":"7"}`)
	case "runs/search":
		for root, run := range s.roots {
			if in.Filter == "tags.`"+rootTag+"` = '"+root+"'" {
				fmt.Fprintf(w, `{"runs":[{"info":{"run_id":%q}}]}`, run)
				return
			}
		}
		fmt.Fprint(w, `{}`)
	case "runs/create":
		id := fmt.Sprint("run", len(s.runs))
		s.runs, s.roots[in.Tags[0].Value] = append(s.runs, id), id
		fmt.Fprintf(w, `{"run":{"info":{"run_id":%q}}}`, id)
	case "runs/log-batch":
		for _, p := range in.Params {
			if old, ok := s.params[p.Key]; ok && old != p.Value {
				refuse(400, "INVALID_PARAMETER_VALUE")
				return
			}
			s.params[p.Key] = p.Value
		}
		for _, p := range in.Tags {
			s.tags[p.Key] = p.Value
		}
		s.metrics = append(s.metrics, in.Metrics...)
		fmt.Fprint(w, `{}`)
	case "runs/update":
		s.status = append(s.status, in.Status)
		fmt.Fprint(w, `{}`)
	default:
		refuse(404, "ENDPOINT_NOT_FOUND")
	}
}

func newServer(t *testing.T) (*server, string) {
	s := &server{roots: map[string]string{}, params: map[string]string{}, tags: map[string]string{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	t.Setenv(envURI, strings.Replace(h.URL, "http://", "http://me:SECRET@", 1)+"/mlflow")
	return s, h.URL
}

// start is Start, but soon tries again.
func start(t *testing.T, log *bytes.Buffer) *Logger {
	t.Helper()
	c, err := clientFromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	l := newLogger(c, run{"Default", "ns/job", "s3://models/ns/job/uid", time.Now()}, slog.New(slog.NewTextHandler(log, nil)))
	l.sleep = func(int) time.Duration { return time.Millisecond }
	l.begin(t.Context())
	return l
}

// TestRun logs two attempts at one job into one run.
func TestRun(t *testing.T) {
	s, _ := newServer(t)
	var log bytes.Buffer
	l := start(t, &log)
	l.Params(map[string]string{"epochs": "3", "long": strings.Repeat("x", 9999)})
	l.Tags(map[string]string{"uid": "u"})
	for i := range 2500 {
		l.Metric("loss", int64(i), time.UnixMilli(int64(i)), float64(i))
	}
	l.Metric("loss", 1, time.Now(), math.NaN())
	l.Close(t.Context(), Killed)
	again := start(t, &log)
	again.Params(map[string]string{"epochs": "4"}) // refused, which costs no metric
	again.Metric("loss", 2500, time.Now(), 1)
	again.Close(t.Context(), Finished)

	if len(s.runs) != 1 || s.params["epochs"] != "3" || len(s.params["long"]) > maxValue || s.tags["uid"] != "u" {
		t.Errorf("%d runs, %v, %v", len(s.runs), s.params, s.tags)
	}
	if len(s.metrics) != 2501 || s.metrics[2499] != (metric{"loss", 2499, 2499, 2499}) {
		t.Errorf("%d metrics", len(s.metrics))
	}
	if n := len(s.status); s.status[n-1] != Finished || fmt.Sprint(s.status[:n]) == fmt.Sprint([]Status{Finished}) {
		t.Errorf("status %v", s.status)
	}
	if user, password, _ := (&http.Request{Header: s.headers}).BasicAuth(); user != "me" || password != "SECRET" {
		t.Errorf("user %q", user)
	}
	if text := log.String(); strings.Contains(text, "SECRET") || !strings.Contains(text, "INVALID_PARAMETER_VALUE") || strings.Contains(text, "\\x1b") {
		t.Errorf("log: %s", text)
	}
}

// TestServerThatIsAway gets everything once it is back.
func TestServerThatIsAway(t *testing.T) {
	s, _ := newServer(t)
	s.broken.Store(true)
	var log bytes.Buffer
	l := start(t, &log)
	for i := range maxPending + 5 {
		l.Metric("loss", int64(i), time.Now(), 1)
	}
	s.broken.Store(false)
	l.Close(t.Context(), Finished)
	if n := len(s.metrics); n != maxPending && n != maxPending+5 || s.metrics[n-1].Step != maxPending+4 {
		t.Errorf("%d metrics", n)
	}
	if len(s.status) == 0 || s.status[len(s.status)-1] != Finished {
		t.Errorf("status %v", s.status)
	}
}

// TestServerThatNeverAnswers costs the end of a run no more than a grace, and its steps nothing.
func TestServerThatNeverAnswers(t *testing.T) {
	released := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
		case <-r.Context().Done():
		}
	}))
	defer h.Close()
	defer close(released)
	t.Setenv(envURI, h.URL)
	var log bytes.Buffer
	l := start(t, &log)
	for i := range 3 * maxPending {
		l.Metric("loss", int64(i), time.Now(), 1)
	}
	if len(l.metrics) != maxPending || l.dropped != 2*maxPending {
		t.Errorf("%d metrics wait, %d were dropped", len(l.metrics), l.dropped)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l.Close(ctx, Finished)
	if !strings.Contains(log.String(), "does not have everything") {
		t.Errorf("log: %s", &log)
	}
}

func TestEnvironment(t *testing.T) {
	if l, err := Start(t.Context(), "", "", nil); l != nil || err != nil {
		t.Errorf("%v, %v", l, err)
	}
	var none *Logger
	none.Params(nil)
	none.Tags(nil)
	none.Metric("x", 1, time.Now(), 1)
	none.Close(t.Context(), Finished)
	for _, bad := range []string{"mlflow:5000", "file:///mlruns", "databricks", "http://", "http://a b", "http://me:SECRET@host:port"} {
		t.Setenv(envURI, bad)
		_, err := Start(t.Context(), "", "", nil)
		if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), envURI) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	t.Setenv(envURI, "https://host/sub/")
	t.Setenv(envToken, "TOKEN")
	if c, err := clientFromEnvironment(); err != nil || c.base != "https://host/sub/" || c.token != "TOKEN" {
		t.Errorf("%+v, %v", c, err)
	}
}

// realServer starts MLflow's own server, $MLFLOW_BIN, for `make test-mlflow`.
func realServer(t *testing.T) (uri string) {
	t.Helper()
	bin := os.Getenv("MLFLOW_BIN")
	if bin == "" {
		t.Skip("MLFLOW_BIN is not set: use make test-mlflow")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	cmd := exec.Command(bin, "server", "--host", "127.0.0.1", "--port", port, "--workers", "1",
		"--backend-store-uri", "sqlite:///"+dir+"/mlflow.db", "--artifacts-destination", dir+"/artifacts")
	cmd.Dir, cmd.Stderr = dir, t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts workers
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		cmd.Wait()
	})
	for range 600 { // a minute or two
		if resp, err := http.Get("http://" + address + "/health"); err == nil && resp.Body.Close() == nil {
			return "http://" + address
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the server does not answer")
	return ""
}

// TestRealServer: a run is what MLflow itself tells of it.
func TestRealServer(t *testing.T) {
	t.Setenv(envURI, realServer(t))
	t.Setenv(envExperiment, fmt.Sprintf("test %d", time.Now().UnixNano()))
	root := "s3://models/it's/" + fmt.Sprint(time.Now().UnixNano())
	var ids []string
	for attempt, status := range []Status{Killed, Finished} {
		var log bytes.Buffer
		l, err := Start(t.Context(), "ns/job", root, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		l.Params(map[string]string{"training.epochs": "3"})
		l.Tags(map[string]string{"attempt": fmt.Sprint(attempt)})
		for i := range 1500 {
			l.Metric("loss/train", int64(1500*attempt+i), time.Now(), 1/float64(i+1))
		}
		for deadline := time.Now().Add(time.Minute); l.waiting() && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // its first answers take their time
		}
		if l.Close(t.Context(), status); log.Len() > 0 {
			t.Fatal(log.String())
		}
		ids = append(ids, l.client.runID)
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("runs %v", ids)
	}
	var got struct {
		Run struct {
			Info struct{ Status Status }
			Data struct {
				Metrics      []metric
				Params, Tags []pair
			}
		}
	}
	c, err := clientFromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.do(t.Context(), http.MethodGet, "runs/get?run_id="+ids[0], nil, &got); err != nil {
		t.Fatal(err)
	}
	if r := got.Run; r.Info.Status != Finished || len(r.Data.Metrics) != 1 || r.Data.Metrics[0].Step != 2999 || len(r.Data.Params) != 1 {
		t.Errorf("%+v", r)
	}
}
