package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func open(t *testing.T, m memory, attempt int32) *Checkpoints {
	t.Helper()
	c, err := Open(t.Context(), m, attempt, &testSpec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t *testing.T, c *Checkpoints, step int64, isBest bool) string {
	t.Helper()
	saved, err := c.Save(t.Context(), snapshotOf(Meta{Step: step, BestAccuracy: 0.5}), isBest)
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
		History: []EpochMetrics{{Epoch: 1, Step: 390, TrainLoss: 1.5, Accuracy: 0.9}, {Epoch: 2, Step: 780, Accuracy: 0.8}}})
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
	if _, err := Open(t.Context(), m, 1, &testSpec); exit.Code(err) != contract.ExitFenced {
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
	if _, _, err := c.Resume(t.Context()); !errors.Is(err, errNetwork) || !strings.HasPrefix(err.Error(), "storage.uri: ") {
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
	spec := testSpec
	spec.Training.Schedule.MaxLR, spec.Training.LabelSmoothing = 0.02, 0.1
	c, err := Open(t.Context(), m, 2, &spec)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Resume(t.Context())
	want := "checkpoint 00000-00000001-a1 belongs to another configuration: training.labelSmoothing was 0 and is now 0.1, " +
		"training.schedule.maxLR was 0.01 and is now 0.02: set it back, or choose another name or storage.uri to train anew"
	if exit.Code(err) != contract.ExitConfig || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestFieldsOfAnotherVersionDoNotCount(t *testing.T) {
	old := config{"training.epochs": json.RawMessage("20"), "training.gone": json.RawMessage("1")}
	if err := testConfig.compare(old, "c"); err != nil {
		t.Error(err)
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
