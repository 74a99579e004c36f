package trainer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// TestMLflowIsTold what a run is, how it goes, and how it ended.
func TestMLflowIsTold(t *testing.T) {
	var mu sync.Mutex
	said := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		said[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]] += string(body)
		fmt.Fprint(w, `{"experiment":{"experiment_id":"1"},"run":{"info":{"run_id":"r"}}}`)
	}))
	defer server.Close()
	t.Setenv("MLFLOW_TRACKING_URI", server.URL)
	dir := t.TempDir()
	if _, err := runJob(t.Context(), t, testJob(dir, func(s *spec) {
		s.Dataset.URI = "https://me:SECRET@host/x?X-Amz-Signature=SECRET"
	}), Options{}); err != nil {
		t.Fatal(err)
	}
	for call, wants := range map[string][]string{
		"create":    {`"run_name":"default/test"`, `{"key":"resnet-operator.root","value":"file://` + path(dir, "")},
		"log-batch": {`{"key":"training.batchSize","value":"8"}`, `{"key":"training.optimizer.betas","value":"[0.9,0.999]"}`, `{"key":"dataset.uri","value":"https://host/x"}`, `{"key":"loss/test","value":`, `"step":16}`, `"key":"step/lr"`, `model/model.safetensors"`},
		"update":    {`"status":"RUNNING"`, `"status":"FINISHED"`},
	} {
		for _, want := range wants {
			if !strings.Contains(said[call], want) {
				t.Errorf("%s lacks %s: %s", call, want, said[call])
			}
		}
	}
	if strings.Contains(fmt.Sprint(said), "SECRET") {
		t.Errorf("a secret was sent: %s", said)
	}
}

func TestWrongAddressOfMLflow(t *testing.T) {
	t.Setenv("MLFLOW_TRACKING_URI", "mlflow:5000")
	_, err := runJob(t.Context(), t, testJob(t.TempDir()), Options{})
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), "MLFLOW_TRACKING_URI") {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
}
