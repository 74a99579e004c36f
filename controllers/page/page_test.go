package page

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

var keep = flag.String("keep", "", "folder to keep the pages in, to look at them")

func job(name string, state v1.State, change func(j *v1.ResNetTrainingJob)) *v1.ResNetTrainingJob {
	j := &v1.ResNetTrainingJob{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: "uid-of-" + "u",
		CreationTimestamp: metav1.NewTime(time.Now().Add(-90 * time.Minute))}}
	j.Status.State, j.Status.Attempt, j.Status.PodName = state, 2, name+"-2-0"
	j.Status.Progress = &v1.ProgressStatus{Epoch: 3, Epochs: 20, Step: 300, Steps: 2000, Loss: new(0.4321), Accuracy: new(0.87654), BestAccuracy: new(0.88)}
	j.Status.Conditions = []metav1.Condition{{Type: "Progressing", Status: "True", Reason: "Training", Message: "epoch 3 <script>alert(1)</script>",
		LastTransitionTime: metav1.NewTime(time.Now().Add(-5 * time.Minute))}}
	if change != nil {
		change(j)
	}
	return j
}

// serve a page of jobs, whose pods answer with what answers says.
func serve(t *testing.T, history any, jobs ...client.Object) http.Handler {
	t.Helper()
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := history.(string); ok {
			fmt.Fprint(w, text)
			return
		}
		json.NewEncoder(w).Encode(history)
	}))
	t.Cleanup(pod.Close)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(jobs...).Build()
	return New(reader, func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "10.1.2.3:8080" {
			t.Errorf("asks %s", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, pod.Listener.Addr().String())
	})
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code == http.StatusOK && !strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'sha256-"+hash(script)+"'") {
		t.Errorf("policy %q", w.Header().Get("Content-Security-Policy"))
	}
	return w.Code, w.Body.String()
}

func testHistory() contract.History {
	h := contract.History{UID: "uid-of-u", Attempt: 2}
	for i := range 200 {
		h.Steps = append(h.Steps, contract.StepMetrics{Step: int64(i + 1), Loss: 2 / (1 + float64(i)/20), LR: 0.001, ImagesPerSecond: 400})
	}
	for i := range 3 {
		h.Epochs = append(h.Epochs, contract.EpochMetrics{Epoch: int32(i + 1), Step: int64(60 * (i + 1)), TestLoss: new(1 / float64(i+1)), Accuracy: new(0.7 + float64(i)/20)})
	}
	return h
}

func objects() []client.Object {
	return []client.Object{
		job("net", v1.StateRunning, nil),
		job("waits", v1.StateQueued, func(j *v1.ResNetTrainingJob) {
			j.Status.Progress, j.UID, j.Status.Conditions[0].Message = nil, "other", "no quota\nyet"
		}),
		job("done", v1.StateSucceeded, func(j *v1.ResNetTrainingJob) {
			j.UID, j.Status.Artifacts = "third", &v1.ArtifactsStatus{Model: "s3://models/team/done/model.safetensors"}
		}),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "net-2-0"}, Status: corev1.PodStatus{PodIP: "10.1.2.3"}},
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "net-2", OwnerReferences: []metav1.OwnerReference{{UID: "uid-of-u"}}}},
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "net-1", OwnerReferences: []metav1.OwnerReference{{UID: "uid-of-u"}}},
			Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}}},
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "foreign-1"}},
	}
}

func TestPages(t *testing.T) {
	h := serve(t, testHistory(), objects()...)
	for path, want := range map[string]struct {
		has, lacks []string
	}{
		"/jobs": {[]string{`<a href="/jobs/team/net">net</a>`, "3/20", "0.4321", "87.65 %", "Queued", ">90m<", "3 jobs: 1 Queued, 1 Running, 1 Succeeded",
			">no quota yet<"}, []string{"older jobs", "epoch 3"}},
		"/jobs/team/net": {[]string{"step 300 of 2,000", "epoch 3 &lt;script&gt;", "net-2", "net-1</td><td>ended", "<polyline", "Learning rate",
			"step 60: 70 %", "; test 0.3333 at step 180", ">5m<", "88.00 %"}, []string{"foreign-1", "<script>alert"}},
		"/jobs/team/waits": {[]string{"no pod trains at the moment<", "There is no Job", ": no quota yet<"}, []string{"<polyline"}},
		"/jobs/team/done":  {[]string{"s3://models/team/done/model.safetensors", "kubectl resnet report -n team done"}, []string{"<polyline"}},
	} {
		code, page := get(t, h, path)
		for _, text := range want.has {
			if code != http.StatusOK || !strings.Contains(page, text) {
				t.Errorf("%s: %d, lacks %q", path, code, text)
			}
		}
		for _, text := range append(want.lacks, "ZgotmplZ", "NaN", "href=\"http", "src=") {
			if strings.Contains(page, text) {
				t.Errorf("%s has %q", path, text)
			}
		}
		if *keep != "" {
			name := filepath.Join(*keep, strings.ReplaceAll(strings.Trim(path, "/"), "/", "-")+".html")
			if err := os.WriteFile(name, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, path := range []string{"/jobs/team/none", "/jobs/other/net", "/jobs/team", "/jobs/team/net/x"} {
		if code, _ := get(t, h, path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/jobs", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// TestPodsAnswerWhatTheyLike: they belong to tenants.
func TestPodsAnswerWhatTheyLike(t *testing.T) {
	other := testHistory()
	other.UID = "another"
	for name, answer := range map[string]any{
		"of another job": other, "no JSON": "<script>", "endless": `{"uid":"` + strings.Repeat("x", 2*maxHistory), "empty": "",
	} {
		if code, page := get(t, serve(t, answer, objects()...), "/jobs/team/net"); code != http.StatusOK || !strings.Contains(page, "the pod net-2-0 has no curves") {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code, page := get(t, serve(t, contract.History{UID: "uid-of-u"}, objects()...), "/jobs/team/net"); code != http.StatusOK || strings.Contains(page, "<polyline") {
		t.Errorf("before the first step: %d", code)
	}
}

// TestCurvesOfAnyNumbers: a single epoch is seen, and no number that a pod may serve breaks a picture.
func TestCurvesOfAnyNumbers(t *testing.T) {
	first := contract.History{UID: "uid-of-u", Epochs: testHistory().Epochs[:1]}
	if _, page := get(t, serve(t, first, objects()...), "/jobs/team/net"); strings.Count(page, "<circle") != 2 {
		t.Errorf("the first epoch has %d marks", strings.Count(page, "<circle"))
	}
	for name, values := range map[string][]float64{
		"huge": {-math.MaxFloat64, math.MaxFloat64}, "tiny": {0, math.SmallestNonzeroFloat64}, "close": {1e17, 1e17 + 16}, "equal": {-3, -3}, "zeros": {0, 0},
	} {
		h := contract.History{UID: "uid-of-u"}
		for i, v := range values {
			h.Steps = append(h.Steps, contract.StepMetrics{Step: math.MaxInt64 - int64(i), Loss: v, LR: 0.1})
		}
		_, page := get(t, serve(t, h, objects()...), "/jobs/team/net")
		for _, bad := range []string{"NaN", "Inf", ">-0<"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %s", name, bad)
			}
		}
		if !strings.Contains(page, "Learning rate") {
			t.Errorf("%s: where are the others?", name)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		lo, hi float64
		want   []float64
	}{
		{0, 2000, []float64{0, 500, 1000, 1500, 2000}}, {0.18, 2, []float64{0.5, 1, 1.5, 2}}, {-0.3, 0.3, []float64{-0.2, 0, 0.2}}, {1e-5, 1.1e-5, []float64{1e-5, 1.05e-5, 1.1e-5}},
	} {
		if diff := cmp.Diff(test.want, ticks(test.lo, test.hi, 4), cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("%g to %g (-want +got):\n%s", test.lo, test.hi, diff)
		}
	}
}

func TestManyJobs(t *testing.T) {
	var all []client.Object
	for i := range maxJobs + 7 {
		all = append(all, job(fmt.Sprint("net-", i), v1.StateRunning, nil))
	}
	if _, page := get(t, serve(t, "", all...), "/jobs"); !strings.Contains(page, "7 older jobs are not shown") || strings.Count(page, "<tr>") != maxJobs+1 {
		t.Error("the table is not bounded")
	} else if !strings.Contains(page, `<noscript><meta http-equiv="refresh"`) {
		t.Error("without scripts the page does not renew itself")
	}
}

func TestBrowsersLogIn(t *testing.T) {
	var seen string
	h := WithLogin(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }))
	for name, test := range map[string]struct {
		path, user, token, want string
		code                    int
	}{
		"nobody":     {"/jobs", "", "", "", 401},
		"a browser":  {"/jobs/team/net", "me", "TOKEN", "Bearer TOKEN", 200},
		"Prometheus": {"/metrics", "", "", "", 200},
	} {
		r, w := httptest.NewRequest(http.MethodGet, test.path, nil), httptest.NewRecorder()
		if test.user != "" {
			r.SetBasicAuth(test.user, test.token)
		}
		seen = ""
		h.ServeHTTP(w, r)
		if w.Code != test.code || seen != test.want || (test.code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d, %q", name, w.Code, seen)
		}
	}
}

// TestPageInBrowser: the page shows what is new without being loaded again.
func TestPageInBrowser(t *testing.T) {
	browser := os.Getenv("CHROMIUM")
	if browser == "" {
		t.Skip("CHROMIUM is not set: use make test-browser")
	}
	calls := 0
	inner := serve(t, testHistory(), objects()...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jobs/team/net" {
			calls++
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	out, err := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=12000",
		"--user-data-dir="+t.TempDir(), "--dump-dom", server.URL+"/jobs/team/net").Output()
	if err != nil || !strings.Contains(string(out), "<polyline") || calls < 2 {
		t.Errorf("asked %d times: %v\n%s", calls, err, out)
	}
}
