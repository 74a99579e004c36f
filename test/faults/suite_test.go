// Package faults runs the real trainer on real storage and breaks what can break. Whatever happens, the job ends with the
// same bytes, and nothing that was acknowledged is lost.
package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/test/syncbuffer"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// world is a job and the storage it has.
type world struct {
	t       *testing.T
	uri     string
	s3      *v1.S3Spec // as the trainer sees it
	store   store.Store
	attempt int
	latest  pointer
}

type pointer struct {
	Attempt    int32  `json:"attempt"`
	Step       int64  `json:"step"`
	Checkpoint string `json:"checkpoint"`
	Best       string `json:"best"`
}

const (
	epochs = 4
	// most attempts that a job may need once there are no faults any more.
	most = 2
)

// onMinIO is a world on MinIO behind a proxy that makes faults.
func onMinIO(t *testing.T) (*world, *proxy) {
	t.Helper()
	spec := storetest.MinIO(t)
	p := newProxy(t, spec.Endpoint)
	seen := *spec
	seen.Endpoint = p.url
	return newWorld(t, "s3://"+storetest.Bucket+"/faults", &seen, spec), p
}

// onDir is a world on a folder.
func onDir(t *testing.T, dir string) *world { return newWorld(t, "file://"+dir, nil, nil) }

// newWorld needs also how the test reaches the storage, without faults.
func newWorld(t *testing.T, uri string, seen, direct *v1.S3Spec) *world {
	t.Helper()
	st, err := store.Open(t.Context(), uri, direct)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, uri: uri, s3: seen, store: store.Sub(st, contract.JobPrefix("default", "faults", "local"))}
}

// job is the same in every world but for its storage.
func (w *world) job() string {
	spec := map[string]any{
		"model":      map[string]any{"widthMultiplier": 0.125},
		"dataset":    map[string]any{"format": "Synthetic", "maxTrainImages": 96, "maxTestImages": 40},
		"training":   map[string]any{"epochs": epochs, "batchSize": 8, "precision": "FP32", "seed": 5},
		"storage":    v1.StorageSpec{URI: w.uri, S3: w.s3},
		"checkpoint": map[string]any{"maxLagSeconds": 300},
	}
	data, err := yaml.Marshal(map[string]any{"apiVersion": v1.GroupVersion.String(), "kind": v1.Kind,
		"metadata": map[string]any{"name": "faults"}, "spec": spec})
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// process is a trainer.
type process struct {
	*exec.Cmd
	t      *testing.T
	output *syncbuffer.Buffer
}

// start begins the next attempt.
func (w *world) start() *process {
	w.t.Helper()
	program := os.Getenv("TRAINER_BIN")
	if program == "" {
		w.t.Skip("TRAINER_BIN is not set: use make test-faults")
	}
	w.attempt++
	p := &process{exec.Command(program, "train", "-f", w.job()), w.t, &syncbuffer.Buffer{}}
	p.Stderr = p.output
	p.Env = append(os.Environ(), "OMP_NUM_THREADS=1", fmt.Sprintf("%s=%d", contract.EnvAttempt, w.attempt))
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Process.Kill() })
	return p
}

// wait returns the exit code; -1 after SIGKILL.
func (p *process) wait() contract.ExitCode {
	p.t.Helper()
	done := time.AfterFunc(5*time.Minute, func() {
		p.t.Errorf("the trainer hangs:\n%s", p.output)
		p.Process.Kill()
	})
	defer done.Stop()
	err := p.Wait()
	var exitErr *exec.ExitError
	if err != nil && !errors.As(err, &exitErr) {
		p.t.Fatal(err)
	}
	return contract.ExitCode(p.ProcessState.ExitCode())
}

// until waits until the log of a process holds a text.
func (p *process) until(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(p.output.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("no %q in:\n%s", text, p.output)
		}
	}
}

// run is an attempt that must end with a code.
func (w *world) run(want contract.ExitCode) *process {
	w.t.Helper()
	p := w.start()
	if code := p.wait(); code != want {
		w.t.Fatalf("attempt %d ended with %d, want %d:\n%s", w.attempt, code, want, p.output)
	}
	w.check()
	return p
}

// finish runs the job to its end, and compares it with one that had no faults.
func (w *world) finish() {
	w.t.Helper()
	for tries := 1; ; tries++ {
		p := w.start()
		code := p.wait()
		w.check()
		if code == contract.ExitDone {
			break
		}
		if tries == most || code.Permanent() {
			w.t.Fatalf("attempt %d ended with %d:\n%s", w.attempt, code, p.output)
		}
	}
	w.compare()
	w.clean()
}

// check finds out whether something that was acknowledged is lost.
func (w *world) check() {
	w.t.Helper()
	now := w.pointer()
	if now.Attempt < w.latest.Attempt || now.Step < w.latest.Step {
		w.t.Errorf("latest.json went from %+v back to %+v", w.latest, now)
	}
	w.latest = now
	for _, name := range []string{now.Checkpoint, now.Best} {
		if name != "" {
			w.verify(name)
		}
	}
}

func (w *world) pointer() (p pointer) {
	w.t.Helper()
	data, _, err := store.ReadAll(context.Background(), w.store, contract.LatestKey)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Errorf("latest.json: %v", err)
	}
	return p
}

// verify checks the sums of a checkpoint with code of its own.
func (w *world) verify(name string) {
	w.t.Helper()
	var manifest struct {
		Blobs map[string]struct{ SHA256 string }
	}
	data, err := w.read("checkpoints/" + name + "/manifest.json")
	if err == nil {
		err = json.Unmarshal(data, &manifest)
	}
	if err != nil || len(manifest.Blobs) != 2 {
		w.t.Errorf("checkpoint %s: %v, %d blobs", name, err, len(manifest.Blobs))
	}
	for file, blob := range manifest.Blobs {
		data, err := w.read("checkpoints/" + name + "/" + file)
		if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != blob.SHA256 {
			w.t.Errorf("checkpoint %s: %s is damaged: %v", name, file, err)
		}
	}
}

func (w *world) read(key string) ([]byte, error) {
	data, _, err := store.ReadAll(context.Background(), w.store, key)
	return data, err
}

// result is the model and the metrics, without what depends on time.
func (w *world) result() string {
	w.t.Helper()
	model, err := w.read(contract.ModelKey)
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := w.read(contract.MetricsKey(int32(w.attempt)))
	if err != nil {
		w.t.Fatal(err)
	}
	out := fmt.Sprintf("%x\n", sha256.Sum256(model))
	for dec := json.NewDecoder(bytes.NewReader(lines)); dec.More(); {
		m := map[string]any{}
		if err := dec.Decode(&m); err != nil {
			w.t.Fatal(err)
		}
		for _, key := range []string{"seconds", "imagesPerSecond", "dataWait", "memoryBytes"} {
			delete(m, key)
		}
		out += fmt.Sprintln(m)
	}
	return out
}

// reference is the result without faults.
var reference string

func (w *world) compare() {
	w.t.Helper()
	if reference == "" {
		w := onDir(w.t, w.t.TempDir())
		w.run(contract.ExitDone)
		reference = w.result()
	}
	if got := w.result(); got != reference {
		w.t.Errorf("the job ended with another result:\n%s\nwithout faults:\n%s", got, reference)
	}
}

// clean checks that nothing is left over but what is kept: the last two checkpoints and the best one, whole.
func (w *world) clean() {
	w.t.Helper()
	infos, err := w.store.List(context.Background(), contract.CheckpointsPrefix+"/")
	if err != nil {
		w.t.Fatal(err)
	}
	files := map[string]int{}
	for _, info := range infos {
		files[strings.Split(info.Key, "/")[1]]++
	}
	for name, n := range files {
		if n != 3 {
			w.t.Errorf("checkpoint %s has %d files", name, n)
		}
	}
	if len(files) > 3 {
		w.t.Errorf("left over: %v", files)
	}
}
