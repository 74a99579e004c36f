package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/test/documents"
	"github.com/resnet-operator/resnet-operator/trainer/export"
)

// created are jobs that a page creates itself.
var created = map[string]string{"docs/kubectl.md": "net", "docs/photographs.md": "flowers"}

// TestDocuments runs the commands of the documentation that are marked for it by kubectl and its plugin, each page in a
// namespace with jobs of the names that it speaks of: net and flowers are done, birds and
// tulips train, roses has failed.
func TestDocuments(t *testing.T) {
	pages, err := documents.Commands("../..", "kubectl")
	if err != nil || len(pages) < 4 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for page, blocks := range pages {
		t.Run(page, func(t *testing.T) {
			e := newEnv(t)
			e.trainedJobs(slices.DeleteFunc([]string{"net", "flowers", "flowers-2", "flowers-3"}, func(name string) bool {
				return name == created[page]
			})...)
			for _, name := range []string{"birds", "tulips"} {
				e.setStatus(e.createJob(name, nil), training(1))
			}
			e.setStatus(e.createJob("roses", nil), endedAs(v1.StateFailed, v1.ConditionFailed, v1.ReasonOutOfMemory, "needed more memory"))
			e.playOperator()
			dir := t.TempDir()
			self, err := os.Executable()
			e.must(err)
			e.must(os.Symlink(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), filepath.Join(dir, "kubectl")))
			e.must(os.Symlink(self, filepath.Join(dir, "kubectl-resnet")))
			e.must(os.WriteFile(filepath.Join(dir, "job.yaml"), []byte(jobFile), 0o600))
			e.must(os.MkdirAll(filepath.Join(dir, "photos"), 0o700))
			e.must(os.Symlink(folder(t, 20, numberedImages([]string{"roses", "tulips"}, 5)...), filepath.Join(dir, "photos", "flowers")))
			for _, b := range blocks {
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", b.Text)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+e.kubeconfig(""))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s:%d: %v\n%s\n%s", page, b.Line, err, b.Text, out)
				}
			}
		})
	}
}

// trainedJobs have ended, with all their results in a bucket.
func (e *env) trainedJobs(names ...string) {
	e.t.Helper()
	s3 := e.bucket()
	for _, name := range names {
		job := e.createJob(name, inBucket(s3))
		e.setStatus(job, endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "done"))
		e.setStatus(job, func(s *v1.ResNetTrainingJobStatus) { s.FirstStepTime = new(metav1.Now()) })
		content := "weights"
		sum := sha256.Sum256([]byte(content))
		card := export.Card{Files: map[string]export.File{}}
		for _, file := range []string{export.SafetensorsFile, export.ONNXFile} {
			card.Files[file] = export.File{Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
			e.put(job, contract.ModelPrefix+"/"+file, content)
		}
		encoded, err := card.Encode()
		e.must(err)
		e.put(job, contract.ModelPrefix+"/"+export.CardFile, string(encoded))
		e.put(job, contract.ReportJSONKey, `{"job":{"uid":"`+string(job.UID)+`"}}`)
		e.put(job, contract.ReportKey, "<html>")
		e.put(job, contract.LogKey(1), "a line\n")
		e.put(job, contract.LogKey(2), "another line\n")
		metrics, err := json.Marshal(contract.EpochMetrics{Epoch: 1, Step: 10, TestLoss: new(0.5), Accuracy: new(0.9), Seconds: 60, ImagesPerSecond: 200})
		e.must(err)
		e.put(job, contract.MetricsKey(1), string(metrics)+"\n")
		e.setStatus(job, func(s *v1.ResNetTrainingJobStatus) { s.Attempt = 2 })
	}
}

// playOperator suspends and resumes jobs, and lets new ones end, until the test ends.
func (e *env) playOperator() {
	done, stopped := make(chan struct{}), make(chan struct{})
	e.t.Cleanup(func() { close(done); <-stopped })
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			var jobs v1.ResNetTrainingJobList
			if e.kube.List(e.t.Context(), &jobs, client.InNamespace(e.ns)) != nil {
				continue
			}
			for i := range jobs.Items {
				job := &jobs.Items[i]
				before := job.DeepCopy()
				switch {
				case job.Spec.Suspend && job.Status.State == v1.StateRunning:
					endedAs(v1.StateSuspended, v1.ConditionSuspended, v1.ReasonSuspended, "stopped")(&job.Status)
				case !job.Spec.Suspend && job.Status.State == v1.StateSuspended:
					training(2)(&job.Status)
				case job.Status.State == "":
					endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "done")(&job.Status)
				default:
					continue
				}
				_ = e.kube.Status().Patch(e.t.Context(), job, client.MergeFrom(before)) // the next look tries again
			}
		}
	}()
}
