package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

var (
	testSpec = v1.ResNetTrainingJobSpec{
		Dataset:  v1.DatasetSpec{Format: v1.Synthetic},
		Training: v1.TrainingSpec{Epochs: 20, BatchSize: 128, Schedule: v1.ScheduleSpec{MaxLR: 0.01}},
	}
	testConfig = must(configOf(&testSpec))
)

func testJob(changes ...func(*v1.ResNetTrainingJobSpec)) *v1.ResNetTrainingJob {
	job := &v1.ResNetTrainingJob{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "job", UID: "uid"}, Spec: testSpec}
	for _, change := range changes {
		change(&job.Spec)
	}
	return job
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func open(t *testing.T, m memory, attempt int32) *Checkpoints {
	t.Helper()
	c, err := Open(t.Context(), m, testJob(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t *testing.T, c *Checkpoints, step int64, isBest bool) string {
	t.Helper()
	saved, err := c.Save(t.Context(), snapshotOf(Meta{Step: step}), isBest)
	if err != nil {
		t.Fatal(err)
	}
	return saved.Name
}

// names of the checkpoints that are there.
func names(t *testing.T, m memory) (names []string) {
	t.Helper()
	all, err := (&Checkpoints{store: m}).list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.name)
	}
	return names
}

func TestResumeReturnsWhatWasSaved(t *testing.T) {
	m := memory{}
	c := open(t, m, 1)
	if s, name, err := c.Resume(t.Context()); s != nil || name != "" || err != nil {
		t.Fatalf("Resume of nothing: %v %q %v", s, name, err)
	}
	want := snapshotOf(Meta{Epoch: 2, Step: 780, StepInEpoch: 3, LossSum: 1.25, BestAccuracy: 0.9, BestEpoch: 1,
		History: []EpochMetrics{{Epoch: 1, Step: 390, TrainLoss: 1.5, Accuracy: new(0.9)}, {Epoch: 2, Step: 780, Accuracy: new(0.8)}}})
	saved, err := c.Save(t.Context(), want, true)
	if err != nil {
		t.Fatal(err)
	}
	if saved.Name != "00002-00000780-a1" || saved.URI != "memory:///checkpoints/00002-00000780-a1" {
		t.Errorf("saved %+v", saved)
	}
	for _, load := range []func(context.Context) (*Snapshot, string, error){open(t, m, 2).Resume, open(t, m, 3).Best} {
		got, name, err := load(t.Context())
		if err != nil || name != saved.Name {
			t.Fatalf("loaded %q, %v", name, err)
		}
		if diff := cmp.Diff(&want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
	}
}

func TestOlderAttemptIsFencedByOpenAlone(t *testing.T) {
	m := memory{}
	old := open(t, m, 1)
	save(t, old, 1, true)
	open(t, m, 2)
	_, err := old.Save(t.Context(), snapshotOf(Meta{Step: 2}), true)
	if exit.Code(err) != contract.ExitFenced || err.Error() != "attempt 2 owns the checkpoints: attempt 1 stops" {
		t.Errorf("save: %v", err)
	}
	if _, err := Open(t.Context(), m, testJob(), 1); exit.Code(err) != contract.ExitFenced {
		t.Errorf("open: %v", err)
	}
}

func TestAttemptZeroIsTheNextOne(t *testing.T) {
	m := memory{}
	for want := int32(1); want <= 3; want++ {
		if got := open(t, m, 0).Attempt(); got != want {
			t.Errorf("attempt %d, want %d", got, want)
		}
	}
}

func TestTwoNewestAndTheBestAreKept(t *testing.T) {
	m := memory{}
	m["checkpoints/notes.txt"] = []byte("of the user")
	m["checkpoints/00000-00000001-a1/model.safetensors"] = []byte("half-written by attempt 1")
	c := open(t, m, 2)
	for step := range int64(5) {
		save(t, c, step+1, step == 1)
	}
	want := []string{"00000-00000002-a2", "00000-00000004-a2", "00000-00000005-a2"}
	if diff := cmp.Diff(want, names(t, m)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if _, ok := m["checkpoints/notes.txt"]; !ok {
		t.Error("a file that is not a checkpoint was deleted")
	}
}

func TestSavingTheSameStateAgainDoesNotTouchIt(t *testing.T) {
	m := memory{}
	c := open(t, m, 1)
	name := save(t, c, 7, false)
	delete(m, path.Join(folder(name), stateFile))
	save(t, c, 7, true)
	if _, ok := m[path.Join(folder(name), stateFile)]; ok {
		t.Error("the blobs of a committed checkpoint were written again")
	}
	if p := must(c.read(t.Context(), contract.BestKey)); p.value.Checkpoint != name {
		t.Errorf("best.json names %q", p.value.Checkpoint)
	}
}

func TestResumeFallsBackToTheNewestThatVerifies(t *testing.T) {
	quiet(t)
	for name, damage := range map[string]func(m memory, dir string){
		"blob changed":      func(m memory, dir string) { m[dir+"/model.safetensors"][0]++ },
		"blob cut off":      func(m memory, dir string) { m[dir+"/state.safetensors"] = m[dir+"/state.safetensors"][:9] },
		"blob missing":      func(m memory, dir string) { delete(m, dir+"/model.safetensors") },
		"manifest missing":  func(m memory, dir string) { delete(m, dir+"/manifest.json") },
		"manifest cut off":  func(m memory, dir string) { m[dir+"/manifest.json"] = m[dir+"/manifest.json"][:99] },
		"pointer not JSON":  func(m memory, dir string) { m["latest.json"] = []byte("?"); delete(m, dir+"/manifest.json") },
		"pointer dangling":  func(m memory, dir string) { clearPrefix(m, dir) },
		"pointer and blobs": func(m memory, dir string) { delete(m, "latest.json"); clearPrefix(m, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{}
			c := open(t, m, 1)
			first := save(t, c, 1, false)
			second := save(t, c, 2, true)
			damage(m, folder(second))
			c = open(t, m, 2)
			s, got, err := c.Resume(t.Context())
			if err != nil || got != first || s.Meta.Step != 1 {
				t.Fatalf("resumed %q, %v", got, err)
			}
			third := save(t, c, 2, true)
			if diff := cmp.Diff([]string{first, third}, names(t, m)); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

func clearPrefix(m memory, prefix string) {
	for key := range m {
		if strings.HasPrefix(key, prefix) {
			delete(m, key)
		}
	}
}

func TestNothingVerifies(t *testing.T) {
	quiet(t)
	m := memory{}
	name := save(t, open(t, m, 1), 1, true)
	clearPrefix(m, folder(name))
	c := open(t, m, 2)
	if s, _, err := c.Resume(t.Context()); s != nil || err != nil {
		t.Errorf("got %v, %v", s, err)
	}
	if s, _, err := c.Best(t.Context()); s != nil || err != nil {
		t.Errorf("best: %v, %v", s, err)
	}
	save(t, c, 1, true)
}

func TestStorageErrorIsNotTakenForDamage(t *testing.T) {
	m := memory{}
	save(t, open(t, m, 1), 1, true)
	c := open(t, m, 2)
	c.store = failing{m}
	if _, _, err := c.Resume(t.Context()); !errors.Is(err, errNetwork) || !strings.HasPrefix(err.Error(), "spec.storage.uri: ") {
		t.Errorf("got %v", err)
	}
}

func TestDeletedPointerIsAnError(t *testing.T) {
	m := memory{}
	c := open(t, m, 1)
	delete(m, contract.LatestKey)
	_, err := c.Save(t.Context(), snapshotOf(Meta{Step: 1}), false)
	if err == nil || exit.Code(err) == contract.ExitFenced {
		t.Errorf("got %v", err)
	}
}

func TestOtherConfigurationIsRefused(t *testing.T) {
	m := memory{}
	save(t, open(t, m, 1), 1, true)
	before := string(m[contract.LatestKey])
	_, err := Open(t.Context(), m, testJob(func(s *v1.ResNetTrainingJobSpec) {
		s.Training.Schedule.MaxLR, s.Training.LabelSmoothing = 0.02, 0.1
	}), 2)
	want := "checkpoint 00000-00000001-a1 belongs to another configuration: spec.training.labelSmoothing was 0 and is now 0.1, " +
		"spec.training.schedule.maxLR was 0.01 and is now 0.02: set it back, or choose another name or spec.storage.uri to train anew"
	if exit.Code(err) != contract.ExitConfig || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if string(m[contract.LatestKey]) != before {
		t.Error("latest.json was touched")
	}
}

func TestForeignFoldersAreRefused(t *testing.T) {
	quiet(t)
	for name, test := range map[string]struct {
		damage func(m memory, dir string)
		want   string
	}{
		"another job": {func(m memory, _ string) { replace(m, contract.LatestKey, "team/job/uid", "team/other/uid") },
			"spec.storage.uri: memory:///latest.json belongs to the job team/other/uid, this one is team/job/uid: choose another spec.storage.uri"},
		"newer pointer": {func(m memory, _ string) { replace(m, contract.LatestKey, `"format": 1`, `"format": 2`) },
			"memory:///latest.json has format 2, this trainer knows up to 1: use the newer version that wrote it"},
		"newer manifest": {func(m memory, dir string) { replace(m, dir+"/manifest.json", `"format": 1`, `"format": 2`) },
			"memory:///checkpoints/00000-00000001-a1/manifest.json has format 2, this trainer knows up to 1: use the newer version that wrote it"},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{}
			test.damage(m, folder(save(t, open(t, m, 1), 1, true)))
			before := maps.Clone(m)
			_, err := Open(t.Context(), m, testJob(), 2)
			if exit.Code(err) != contract.ExitConfig || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if diff := cmp.Diff(before, m); diff != "" {
				t.Errorf("something was written (-before +after):\n%s", diff)
			}
		})
	}
}

func replace(m memory, key, old, new string) {
	m[key] = bytes.Replace(m[key], []byte(old), []byte(new), 1)
}

// Without a readable pointer, the folders say which attempts there were.
func TestDamagedPointerDoesNotLetAnOlderAttemptIn(t *testing.T) {
	quiet(t)
	for name, pointer := range map[string][]byte{"empty": {}, "not JSON": []byte("?"), "missing": nil} {
		t.Run(name, func(t *testing.T) {
			m := memory{}
			save(t, open(t, m, 3), 1, true)
			if m[contract.LatestKey] = pointer; pointer == nil {
				delete(m, contract.LatestKey)
			}
			if _, err := Open(t.Context(), m, testJob(), 2); exit.Code(err) != contract.ExitFenced {
				t.Errorf("attempt 2: %v", err)
			}
			c := open(t, m, 0)
			if s, _, err := c.Resume(t.Context()); c.Attempt() != 4 || s == nil || s.Meta.Step != 1 || err != nil {
				t.Errorf("attempt %d resumed %v, %v", c.Attempt(), s, err)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	for name, test := range map[string]struct {
		last int32
		best *bool
		want []int64
	}{
		"default":          {0, nil, []int64{2, 5, 6}},
		"one":              {1, new(true), []int64{2, 6}},
		"three":            {3, new(true), []int64{2, 4, 5, 6}},
		"without the best": {2, new(false), []int64{5, 6}},
		"all":              {1000, nil, []int64{1, 2, 3, 4, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{}
			job := testJob(func(s *v1.ResNetTrainingJobSpec) { s.Checkpoint.KeepLast, s.Checkpoint.KeepBest = test.last, test.best })
			for attempt := range int32(2) {
				c, err := Open(t.Context(), m, job, attempt+1)
				if err != nil {
					t.Fatal(err)
				}
				for step := range int64(3) {
					save(t, c, 3*int64(attempt)+step+1, attempt == 0 && step == 1)
				}
			}
			var got []int64
			for _, name := range names(t, m) {
				_, step, _, _ := parseName(name)
				got = append(got, step)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("steps kept (-want +got):\n%s", diff)
			}
			if _, ok := m[contract.BestKey]; ok != (test.best == nil || *test.best) {
				t.Errorf("best.json is there: %v", ok)
			}
		})
	}
}

// forbidding is a store whose account may not delete.
type forbidding struct{ memory }

func (forbidding) Delete(_ context.Context, keys ...string) error {
	return exit.Errorf(contract.ExitConfig, "%s: access denied", keys[0])
}

func TestWithoutTheRightToDeleteTrainingGoesOn(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	m := memory{}
	c := open(t, m, 1)
	c.store = forbidding{m}
	for step := range int64(5) {
		save(t, c, step+1, false)
	}
	if n := strings.Count(log.String(), "access denied"); n != 1 || len(names(t, m)) != 5 {
		t.Errorf("%d checkpoints; said %d times:\n%s", len(names(t, m)), n, &log)
	}
}

func TestFieldsOfAnotherVersionDoNotCount(t *testing.T) {
	old := config{"training.epochs": json.RawMessage("20\n"), "training.gone": json.RawMessage("1")}
	if diffs := testConfig.differences(old); diffs != "" {
		t.Error(diffs)
	}
}

// TestConfigOfSeveralProcesses: what decides their numbers is part of the configuration. That of a job without
// spec.distributed has no field of it, as before there was one.
func TestConfigOfSeveralProcesses(t *testing.T) {
	of := func(n v1.DistributedNormalization, c v1.Compression) config {
		spec := testSpec
		spec.Distributed = &v1.DistributedSpec{Normalization: n, Compression: c}
		return must(configOf(&spec))
	}
	none := testConfig
	for name := range none {
		if strings.HasPrefix(name, "distributed.") {
			t.Error(name, "is part of a job without spec.distributed")
		}
	}
	synchronized, compressed := of(v1.Synchronized, ""), of("", v1.CompressionBF16)
	for _, same := range []config{none, of("", ""), of(v1.PerProcess, v1.CompressionNone)} {
		if diffs := same.differences(none); diffs != "" {
			t.Error(diffs)
		}
		for _, test := range []struct {
			now, was config
			want     string
		}{
			{synchronized, same, `spec.distributed.normalization was "PerProcess" and is now "Synchronized"`},
			{same, synchronized, `spec.distributed.normalization was "Synchronized" and is now "PerProcess"`},
			{compressed, same, `spec.distributed.compression was "None" and is now "BF16"`},
			{same, compressed, `spec.distributed.compression was "BF16" and is now "None"`},
		} {
			if diffs := test.now.differences(test.was); diffs != test.want {
				t.Errorf("%q, not %q", diffs, test.want)
			}
			if test.now.digest() == test.was.digest() {
				t.Error("the digests are the same")
			}
		}
	}
}

// TestSignedURL: a renewed signature is no other data set, and neither it nor an account is in what is written.
func TestSignedURL(t *testing.T) {
	signed := func(uri string) func(*v1.ResNetTrainingJobSpec) {
		return func(s *v1.ResNetTrainingJobSpec) { s.Dataset = v1.DatasetSpec{Format: v1.CIFAR10, URI: uri} }
	}
	open := func(m memory, attempt int32, uri string) (*Checkpoints, error) {
		return Open(t.Context(), m, testJob(signed(uri)), attempt)
	}
	m := memory{}
	c := must(open(m, 1, "https://me:hunter2@host/a%20b/cifar.tar.gz?X-Amz-Signature=hunter2&v=1#hunter2"))
	manifestKey := folder(save(t, c, 1, true)) + "/manifest.json"
	if text := string(m[manifestKey]); strings.Contains(text, "hunter2") || !strings.Contains(text, `"https://host/a%20b/cifar.tar.gz"`) {
		t.Errorf("manifest:\n%s", text)
	}
	for attempt, test := range map[int32]struct {
		uri  string
		fits bool
	}{
		2: {"https://host/a%20b/cifar.tar.gz?X-Amz-Signature=another", true},
		3: {"https://host/a%20b/cifar.tar.gz", true},
		4: {"https://host/other.tar.gz?X-Amz-Signature=hunter2", false},
	} {
		_, err := open(maps.Clone(m), attempt, test.uri)
		if (err == nil) != test.fits || err != nil && (exit.Code(err) != contract.ExitConfig || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v", test.uri, err)
		}
	}
	// A version that kept signatures wrote the config, and the digest of it, with them.
	old := m[manifestKey]
	m[manifestKey] = bytes.ReplaceAll(bytes.ReplaceAll(old, []byte("cifar.tar.gz"), []byte("cifar.tar.gz?X-Amz-Signature=old")), []byte(c.config.digest()), []byte("old"))
	if bytes.Equal(old, m[manifestKey]) {
		t.Fatal("the manifest is the same")
	}
	if s, _, err := must(open(m, 5, "https://host/a%20b/cifar.tar.gz?X-Amz-Signature=new")).Resume(t.Context()); s == nil || err != nil {
		t.Errorf("after an older version: %v, %v", s, err)
	}
}

func TestConfigHasEveryField(t *testing.T) {
	for _, field := range []string{"model.stem", "dataset.uri", "dataset.maxTrainImages", "training.labelSmoothing",
		"training.optimizer.betas", "training.augmentation.horizontalFlip", "training.seed"} {
		if _, ok := testConfig[field]; !ok {
			t.Errorf("%s is missing", field)
		}
	}
}
