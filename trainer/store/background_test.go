package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// away is a store whose writes take a second, and fail until a moment.
type away struct {
	Store
	until time.Time
	err   error
	wrote []string
}

func (a *away) Put(_ context.Context, key string, r io.ReadSeeker, _ int64) (string, error) {
	time.Sleep(time.Second)
	if time.Now().Before(a.until) {
		return "", a.err
	}
	data, err := io.ReadAll(r)
	a.wrote = append(a.wrote, key+"="+string(data))
	return "", err
}

func (*away) URI(key string) string { return key }

func TestBackground(t *testing.T) {
	quiet(t)
	unreachable := exit.Errorf(contract.ExitStorage, "away")
	denied := exit.Errorf(contract.ExitConfig, "denied")
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"reachable":   {nil, "[m=0 m=2]"},
		"unreachable": {unreachable, "[m=2]"},
		"denied":      {denied, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &away{err: test.err}
				if test.err != nil {
					st.until = time.Now().Add(time.Minute)
				}
				b := NewBackground(t.Context(), st)
				if err := b.Flush(t.Context()); err != nil {
					t.Errorf("Flush of nothing: %v", err)
				}
				start := time.Now()
				for i := range 3 {
					b.Put("m", fmt.Append(nil, i))
					synctest.Wait()
				}
				if time.Since(start) > 0 {
					t.Error("Put waited")
				}
				err := b.Flush(t.Context())
				if got := fmt.Sprint(st.wrote); got != test.want || errors.Is(err, denied) != (test.err == denied) {
					t.Errorf("wrote %s, want %s; %v", got, test.want, err)
				}
			})
		})
	}
}

func TestBackgroundFlushGivesUp(t *testing.T) {
	quiet(t)
	synctest.Test(t, func(t *testing.T) {
		st := &away{err: exit.Errorf(contract.ExitStorage, "away"), until: time.Now().Add(time.Hour)}
		b := NewBackground(t.Context(), st)
		b.Put("m", []byte("1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Hour) // it goes on, and ends
	})
}

// TestBackgroundFlushEnds: the end of a run does not wait for a storage that is away for good.
func TestBackgroundFlushEnds(t *testing.T) {
	quiet(t)
	synctest.Test(t, func(t *testing.T) {
		gone := exit.Errorf(contract.ExitStorage, "away")
		st := &away{err: gone, until: time.Now().Add(time.Hour)}
		b := NewBackground(t.Context(), st)
		b.Put("m", []byte("1"))
		start := time.Now()
		if err := b.Flush(t.Context()); !errors.Is(err, gone) || time.Since(start) > 5*time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		time.Sleep(2 * time.Hour)
		if err := b.Flush(t.Context()); err != nil || len(st.wrote) != 1 {
			t.Errorf("once it is back: %v, wrote %v", err, st.wrote)
		}
	})
}

func TestBackgroundGivesUpWithoutCredentials(t *testing.T) {
	quiet(t)
	synctest.Test(t, func(t *testing.T) {
		b := NewBackground(t.Context(), &away{err: exit.Errorf(contract.ExitStorage, "%w", ErrCredentials), until: time.Now().Add(time.Hour)})
		b.Put("m", []byte("1"))
		start := time.Now()
		if err := b.Flush(t.Context()); !errors.Is(err, ErrCredentials) || time.Since(start) > 2*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}
