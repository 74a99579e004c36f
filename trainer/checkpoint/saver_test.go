package checkpoint

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// failing is a store that cannot be reached.
type failing struct{ memory }

func (failing) Get(context.Context, string) (io.ReadCloser, store.Info, error) {
	return nil, store.Info{}, errNetwork
}
func (failing) Put(context.Context, string, io.ReadSeeker, int64) (string, error) {
	return "", errNetwork
}

// slow is a store whose uploads wait for go, or for the end of their context.
type slow struct {
	memory
	release chan struct{}
}

func (s slow) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (string, error) {
	select {
	case <-s.release:
		return s.memory.Put(ctx, key, r, size)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func TestSaverUploadsInTheBackground(t *testing.T) {
	defer goleak.VerifyNone(t)
	st := slow{memory{}, make(chan struct{})}
	c := open(t, st.memory, 1)
	c.store = st
	var committed []string
	s := NewSaver(c, func(c contract.Checkpoint) { committed = append(committed, c.Name) })

	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Save(ctx, snapshotOf(Meta{Step: 1}), true); err != nil {
		t.Fatal(err)
	}
	cancel() // the upload must go on
	if err := s.Save(ctx, snapshotOf(Meta{Step: 2}), true); !errors.Is(err, context.Canceled) {
		t.Errorf("Save during an upload returned %v", err)
	}
	close(st.release)
	if err := s.Save(t.Context(), snapshotOf(Meta{Step: 3}), true); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(committed) != 2 || committed[1] != "00000-00000003-a1" {
		t.Errorf("committed %v", committed)
	}
}

func TestSaverReturnsTheErrorOfTheSaveBefore(t *testing.T) {
	m := memory{}
	c := open(t, m, 1)
	c.store = failing{m}
	s := NewSaver(c, nil)
	if err := s.Save(t.Context(), snapshotOf(Meta{Step: 1}), false); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), snapshotOf(Meta{Step: 2}), false); !errors.Is(err, errNetwork) {
		t.Errorf("got %v", err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Errorf("nothing was handed over, Flush returned %v", err)
	}
}

func TestFlushGivesUpWithItsContext(t *testing.T) {
	defer goleak.VerifyNone(t)
	st := slow{memory{}, nil}
	c := open(t, st.memory, 1)
	c.store = st
	s := NewSaver(c, nil)
	if err := s.Save(t.Context(), snapshotOf(Meta{Step: 1}), false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
