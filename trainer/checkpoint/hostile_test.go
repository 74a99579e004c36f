package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Whoever may write latest.json of one job makes nobody read the folder of another.
func TestPointersStayInTheirFolder(t *testing.T) {
	quiet(t)
	root, err := store.Open(t.Context(), "file://"+t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), store.Sub(root, "rivals/job/uid"), testJob(), 1)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := other.Save(t.Context(), snapshotOf(Meta{Step: 7}), true)
	if err != nil {
		t.Fatal(err)
	}
	out := "../../../../rivals/job/uid/checkpoints/" + secret.Name
	pointer, err := json.Marshal(pointer{Format: format, Job: "team/job/uid", Attempt: 1, Checkpoint: out, Best: out})
	if err != nil {
		t.Fatal(err)
	}
	ours := store.Sub(root, "team/job/uid")
	for _, key := range []string{contract.LatestKey, contract.BestKey} {
		if _, err := ours.Put(t.Context(), key, bytes.NewReader(pointer), int64(len(pointer))); err != nil {
			t.Fatal(err)
		}
	}
	for _, which := range []string{Latest, Best} {
		if _, err := Load(t.Context(), ours, which, true); exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "latest.json is damaged: it names") {
			t.Errorf("%s: exit code %d: %v", which, exit.Code(err), err)
		}
	}
	if _, err := Load(t.Context(), ours, out, true); !strings.Contains(fmt.Sprint(err), "a name is such as 00003-00001407-a1") {
		t.Errorf("got %v", err)
	}
	c, err := Open(t.Context(), ours, testJob(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() (*Snapshot, string, error){
		"Resume": func() (*Snapshot, string, error) { return c.Resume(t.Context()) },
		"Best":   func() (*Snapshot, string, error) { return c.Best(t.Context()) },
	} {
		if s, _, err := read(); s != nil || err != nil {
			t.Errorf("%s read %v, %v", name, s, err)
		}
	}
	if c.Found() != nil {
		t.Error("the manifest of another job was read")
	}
}
