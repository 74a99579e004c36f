package checkpoint

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// failing is a store that cannot be reached.
type failing struct{ memory }

func (failing) Get(context.Context, string) (io.ReadCloser, store.Info, error) {
	return nil, store.Info{}, errNetwork
}

// weather is a store whose uploads take long, or fail.
type weather struct {
	memory
	mu    sync.Mutex
	takes time.Duration
	err   error
}

func (w *weather) set(takes time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes, w.err = takes, err
}

func (w *weather) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (string, error) {
	w.mu.Lock()
	takes := w.takes
	w.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return "", w.err
	}
	return w.memory.Put(ctx, key, r, size)
}

// training is a run without a network: a Saver on a store with weather.
type training struct {
	*weather
	*Saver
	t     *testing.T
	meta  Meta
	taken []int64
}

// train runs a test in a world where time passes at once.
func train(t *testing.T, spec v1.CheckpointSpec, test func(t *testing.T, r *training)) {
	synctest.Test(t, func(t *testing.T) {
		quiet(t)
		w := &weather{memory: memory{}}
		c := open(t, w.memory, 1)
		c.store = w
		test(t, &training{weather: w, Saver: NewSaver(c, spec, nil), t: t})
	})
}

func (r *training) take() (Snapshot, error) {
	r.taken = append(r.taken, r.meta.Step)
	return snapshotOf(r.meta), nil
}

// steps lets n steps of a minute each go by.
func (r *training) steps(n int) {
	r.t.Helper()
	for range n {
		if err := r.Step(r.t.Context(), r.take); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.meta.Step++
	}
}

func (r *training) save(best bool) {
	r.t.Helper()
	if err := r.Save(r.t.Context(), r.take, best); err != nil {
		r.t.Fatal(err)
	}
}

func (r *training) flush() {
	r.t.Helper()
	if err := r.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// want compares the steps of the snapshots that were taken, and the one that is in the storage.
func (r *training) want(latest int64, taken ...int64) {
	r.t.Helper()
	if diff := cmp.Diff(taken, r.taken); diff != "" {
		r.t.Errorf("snapshots (-want +got):\n%s", diff)
	}
	if got := must(r.checkpoints.read(r.t.Context(), contract.LatestKey)).value; got.Checkpoint == "" || got.Step != latest {
		r.t.Errorf("latest.json: %+v, want step %d", got, latest)
	}
}

func TestSaverUploadsWhileTrainingGoesOn(t *testing.T) {
	train(t, v1.CheckpointSpec{}, func(t *testing.T, r *training) {
		r.set(90*time.Second, nil) // for each of the two blobs and the manifest
		r.steps(1)
		r.save(true)
		start := time.Now()
		r.steps(3)
		r.save(false) // is put off
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("training stood still for %s", took-3*time.Minute)
		}
		r.steps(3)
		r.flush()
		r.want(6, 1, 6)
	})
}

func TestSaverWaitsForTheBest(t *testing.T) {
	train(t, v1.CheckpointSpec{}, func(t *testing.T, r *training) {
		r.set(90*time.Second, nil)
		r.meta.Step = 1
		r.save(true)
		r.meta.Step = 2
		r.save(true)
		r.flush()
		r.want(2, 1, 2)
	})
}

func TestSaverTriesAgain(t *testing.T) {
	train(t, v1.CheckpointSpec{MaxLagSeconds: 3600}, func(t *testing.T, r *training) {
		r.set(0, errNetwork)
		start := time.Now()
		for range 5 { // each replaces the one before, since it is the best so far
			r.steps(2)
			r.save(true)
		}
		r.steps(2)
		r.save(false) // does not replace the best one
		if took := time.Since(start); took != 12*time.Minute {
			t.Errorf("training stood still for %s", took-12*time.Minute)
		}
		r.set(0, nil)
		r.steps(2)
		r.flush()
		r.want(13, 2, 4, 6, 8, 10, 13)
		if best := must(r.checkpoints.read(t.Context(), contract.BestKey)).value; best.Step != 10 {
			t.Errorf("best.json: %+v", best)
		}
	})
}

func TestSaverGivesUpWhenItLagsBehind(t *testing.T) {
	const limit = 5 * time.Minute
	for name, weather := range map[string]struct {
		takes time.Duration
		err   error
	}{
		"away": {err: errNetwork}, "slow": {takes: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			train(t, v1.CheckpointSpec{MaxLagSeconds: 300}, func(t *testing.T, r *training) {
				r.save(false)
				r.flush()
				time.Sleep(time.Hour) // does not count: nothing was due
				r.set(weather.takes, weather.err)
				start := time.Now()
				var err error
				for err == nil {
					time.Sleep(time.Second)
					r.meta.Step++
					if err = r.Step(t.Context(), r.take); err == nil && r.meta.Step%50 == 0 {
						err = r.Save(t.Context(), r.take, r.meta.Step%100 == 0)
					}
				}
				want := "no checkpoint became complete for spec.checkpoint.maxLagSeconds (300): the next attempt goes on from the last one"
				if exit.Code(err) != contract.ExitStorage || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("exit code %d: %v", exit.Code(err), err)
				}
				if lag := time.Since(start) - 50*time.Second; lag < limit-longestWait || lag > limit+longestWait+time.Minute {
					t.Errorf("after %s", lag)
				}
			})
		})
	}
}

func TestSaverEverySeconds(t *testing.T) {
	train(t, v1.CheckpointSpec{EverySeconds: new(int32(180))}, func(t *testing.T, r *training) {
		r.steps(5)
		r.save(false)
		r.steps(5)
		r.flush()
		r.want(8, 3, 5, 8)
	})
}

func TestSaveNowIsNotPutOff(t *testing.T) {
	for name, away := range map[string]bool{"slow": false, "away": true} {
		t.Run(name, func(t *testing.T) {
			train(t, v1.CheckpointSpec{}, func(t *testing.T, r *training) {
				r.set(90*time.Second, nil)
				if away {
					r.set(90*time.Second, errNetwork)
				}
				r.save(true)
				time.Sleep(10 * time.Minute)
				time.AfterFunc(5*time.Minute, func() { r.set(90*time.Second, nil) })
				r.meta.Step = 7
				if err := r.SaveNow(t.Context(), r.take, false); err != nil {
					t.Fatal(err)
				}
				r.flush()
				if !r.Has(r.meta) || r.Has(Meta{Step: 8}) {
					t.Error("Has is wrong")
				}
				r.want(7, 0, 7)
			})
		})
	}
}

func TestSaverReturnsErrorsThatStay(t *testing.T) {
	train(t, v1.CheckpointSpec{}, func(t *testing.T, r *training) {
		missing := exit.Errorf(contract.ExitConfig, "no such bucket")
		r.set(0, missing)
		r.save(true)
		synctest.Wait()
		if err := r.Step(t.Context(), r.take); !errors.Is(err, missing) {
			t.Errorf("got %v", err)
		}
		r.flush()
	})
}

func TestFlushGivesUpWithItsContext(t *testing.T) {
	for name, weather := range map[string]struct {
		takes time.Duration
		err   error
	}{"away": {err: errNetwork}, "slow": {takes: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			train(t, v1.CheckpointSpec{}, func(t *testing.T, r *training) {
				r.set(weather.takes, weather.err)
				r.save(true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := r.Flush(ctx)
				if weather.err != nil && exit.Code(err) != contract.ExitStorage || weather.err == nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("exit code %d: %v", exit.Code(err), err)
				}
			})
		})
	}
}

// TestOneSnapshotAtATime: when a snapshot is taken, the one before can be collected.
func TestOneSnapshotAtATime(t *testing.T) {
	train(t, v1.CheckpointSpec{MaxLagSeconds: 60000}, func(t *testing.T, r *training) {
		var before weak.Pointer[byte]
		n := 0
		take := func() (Snapshot, error) {
			runtime.GC()
			if n++; n > 1 && before.Value() != nil {
				t.Errorf("snapshot %d is taken while the one before is in memory", n)
			}
			data := make([]byte, 1<<16)
			before = weak.Make(&data[0])
			return Snapshot{Model: StateDict{"w": {"U8", []int64{1 << 16}, data}}, Meta: Meta{Step: int64(n)}}, nil
		}
		for i := range 60 {
			r.set(time.Duration(i%3)*time.Minute, nil)
			if i%2 == 0 {
				r.set(time.Duration(i%3)*time.Minute, errNetwork)
			}
			if err := errors.Join(r.Save(t.Context(), take, i%4 == 0), r.Step(t.Context(), take)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		r.set(0, nil)
		r.flush()
		if n < 8 {
			t.Errorf("only %d snapshots", n)
		}
	})
}

// discard is a store that reads uploads and keeps none.
type discard struct{ memory }

func (d discard) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (string, error) {
	_, err := io.Copy(io.Discard, struct{ io.Reader }{r})
	return "", err
}

func TestSavingDoesNotCopyTheSnapshot(t *testing.T) {
	const size = 64 << 20
	m := memory{}
	c := open(t, m, 1)
	c.store = discard{m}
	big := StateDict{"w": {"U8", []int64{size}, make([]byte, size)}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.Save(t.Context(), Snapshot{Model: big, State: big, Meta: Meta{Step: 1}}, true); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size/16 {
		t.Errorf("saving two files of %d bytes allocated %d bytes", size, grown)
	}
}
