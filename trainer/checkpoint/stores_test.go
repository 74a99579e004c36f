package checkpoint

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// TestRealStores plays the protocol's main scenes on the backends that are used in earnest.
func TestRealStores(t *testing.T) {
	t.Run("dir", func(t *testing.T) {
		st, err := store.Open(t.Context(), "file://"+t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		scenes(t, st)
	})
	t.Run("minio", func(t *testing.T) {
		spec := storetest.MinIO(t)
		st, err := store.Open(t.Context(), "s3://"+storetest.Bucket+"/prefix", spec)
		if err != nil {
			t.Fatal(err)
		}
		scenes(t, st)
	})
}

func scenes(t *testing.T, st store.Store) {
	ctx := t.Context()
	st = store.Sub(st, contract.JobPrefix("team", "job", "uid"))
	first, err := Open(ctx, st, testJob(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for step := range int64(4) {
		if _, err := first.Save(ctx, snapshotOf(Meta{Step: step + 1}), step == 0); err != nil {
			t.Fatal(err)
		}
	}

	second, err := Open(ctx, st, testJob(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Save(ctx, snapshotOf(Meta{Step: 5}), true); exit.Code(err) != contract.ExitFenced {
		t.Errorf("the first attempt was not fenced: %v", err)
	}
	s, name, err := second.Resume(ctx)
	if err != nil || name != "00000-00000004-a1" || sameStep(s) != nil {
		t.Fatalf("resumed %s, %v", name, err)
	}
	saved, err := second.Save(ctx, snapshotOf(Meta{Step: 5}), false)
	if err != nil {
		t.Fatal(err)
	}
	if infos, err := st.List(ctx, contract.CheckpointsPrefix+"/"); len(infos) != 3*3 || err != nil {
		t.Errorf("files left: %v, %v", infos, err)
	}
	if _, name, err := second.Best(ctx); name != "00000-00000001-a1" || err != nil {
		t.Errorf("best: %s, %v", name, err)
	}
	if saved.URI != st.URI("checkpoints/00000-00000005-a2") {
		t.Errorf("URI %s", saved.URI)
	}
	race(t, st)
}

// race lets eight processes claim the same checkpoints at once. Each sees another attempt number, and only one of them,
// the last to claim, can save.
func race(t *testing.T, st store.Store) {
	var wg sync.WaitGroup
	var ready sync.WaitGroup
	var attempts sync.Map
	var winners atomic.Int32
	ready.Add(8)
	for range 8 {
		wg.Go(func() {
			c, err := Open(t.Context(), st, testJob(), 0)
			ready.Done()
			ready.Wait()
			if err == nil {
				if _, taken := attempts.LoadOrStore(c.Attempt(), true); taken {
					t.Errorf("attempt %d twice", c.Attempt())
				}
				_, err = c.Save(t.Context(), snapshotOf(Meta{Step: 6}), false)
			}
			switch exit.Code(err) {
			case contract.ExitDone:
				winners.Add(1)
			case contract.ExitFenced: // by a later claim, perhaps before Open returned
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d processes could save", winners.Load())
	}
}
