package trainer

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// TestWarningsOfAllPackagesAreInTheSavedLog: of store, checkpoint and data, also those from before the log has a name.
func TestWarningsOfAllPackagesAreInTheSavedLog(t *testing.T) {
	refused := false
	server := &storetest.Flawed{Intercept: func(w http.ResponseWriter, r *http.Request) bool {
		if refused || r.Method != http.MethodPut || strings.HasSuffix(r.URL.Path, "latest.json") {
			return false
		}
		refused = true
		storetest.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
		return true
	}}
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		http.NotFound(w, r)
	}))
	defer web.Close()
	job := testJob("", func(s *spec) {
		s.Storage = v1.StorageSpec{URI: "s3://" + storetest.Bucket, S3: server.Serve(t)}
		s.Dataset = v1.DatasetSpec{Format: v1.MNIST, URI: web.URL + "/"}
	})
	st, err := openJob(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.WriteAll(t.Context(), st, contract.LatestKey, []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	if _, err := runJob(t.Context(), t, job, Options{}); err == nil {
		t.Fatal("it trained without data")
	}
	log := server.Object("/" + storetest.Bucket + "/" + contract.JobPrefix("default", "test", "local") + "/" + contract.LogKey(1))
	for _, text := range []string{"the storage cannot answer now; trying again", "pointer is damaged", "the web server does not answer"} {
		if n := strings.Count(log, text); n != 1 {
			t.Errorf("%q stands there %d times:\n%s", text, n, log)
		}
	}
}

// TestProgressSaysWhatIsWaitedFor: from before the first step on, and only while it lasts.
func TestProgressSaysWhatIsWaitedFor(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	server := &storetest.Flawed{Intercept: func(w http.ResponseWriter, r *http.Request) bool {
		if down.Load() {
			storetest.Refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
		}
		return down.Load()
	}}
	s3 := server.Serve(t)
	job := testJob("", func(s *spec) { s.Storage = v1.StorageSpec{URI: "s3://" + storetest.Bucket, S3: s3} })
	tracker := progress.NewTracker(contract.Progress{Attempt: 1, Phase: contract.PhaseLoading})
	done := make(chan error, 1)
	go func() {
		_, err := Run(t.Context(), job, Options{Attempt: 1, Handler: slog.DiscardHandler, Progress: tracker})
		done <- err
	}()
	deadline := time.Now().Add(10 * time.Second)
	for tracker.Snapshot().Waiting == nil {
		if time.Now().After(deadline) {
			t.Fatal("it does not say that it waits")
		}
		time.Sleep(50 * time.Millisecond)
	}
	got := tracker.Snapshot()
	if !strings.Contains(got.Waiting.For, "s3://models/default/test/local/") || !strings.Contains(got.Waiting.For, s3.Endpoint+", which cannot answer now") ||
		time.Since(got.Waiting.Since) > 10*time.Second || got.Attempt != 1 {
		t.Errorf("%+v", got.Waiting)
	}
	down.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if w := tracker.Snapshot().Waiting; w != nil {
		t.Errorf("it is done and still waits: %+v", w)
	}
}
