package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// Saver says when checkpoints are due, and saves them in the background. There is at most one snapshot at a time: the
// next is taken only when the one before is complete in the storage, or given up for it. It is not safe for concurrent
// use.
//
// While the storage is away, the upload under way is tried again and again; a newer snapshot takes its place when one is
// due, except that the best one is not dropped for one that is not. A checkpoint that is due while an upload is making
// progress is taken when that is done; but for the best one training waits, for which one is the best must not depend on
// the storage.
type Saver struct {
	checkpoints *Checkpoints
	every       time.Duration // 0: never
	maxLag      time.Duration
	committed   func(contract.Checkpoint)

	now     *upload // nil if there is none
	taken   time.Time
	last    Meta      // of the last snapshot
	behind  time.Time // when the oldest checkpoint that is not complete became due; zero if there is none
	skipped time.Time // when the oldest of those that were put off became due; zero if there is none
}

// Take returns a snapshot of the present state.
type Take func() (Snapshot, error)

// upload is a snapshot on its way to the storage.
type upload struct {
	best    bool
	cancel  context.CancelFunc
	failing chan struct{} // closed when the storage was away once
	lastErr error         // why; valid once failing is closed
	done    chan struct{} // closed at the end
	err     error         // valid once done is closed
}

const (
	// patience is how long one try of a save waits for a storage that is away.
	patience = 10 * time.Second
	// longestWait is the longest time between two tries.
	longestWait = 30 * time.Second
)

// NewSaver returns a saver. committed, which may be nil, is called in the background with each checkpoint once it is
// complete in the storage.
func NewSaver(c *Checkpoints, spec v1.CheckpointSpec, committed func(contract.Checkpoint)) *Saver {
	maxLag := time.Duration(cmp.Or(spec.MaxLagSeconds, 1800)) * time.Second
	s := &Saver{checkpoints: c, committed: committed, maxLag: maxLag}
	if spec.EverySeconds != nil {
		s.every = time.Duration(*spec.EverySeconds) * time.Second
	}
	return s
}

// Step is called between two steps: it saves if the last checkpoint is old enough, or if one was put off and can be
// taken now.
//
// Errors, of this and the other methods: those of Checkpoints.Save in the background; exit code 69 if the storage lags
// behind for too long.
func (s *Saver) Step(ctx context.Context, take Take) error {
	if s.taken.IsZero() {
		s.taken = time.Now() // the training begins
	}
	if err := s.collect(); err != nil {
		return err
	}
	old := s.every > 0 && time.Since(s.taken) >= s.every
	if !old && s.skipped.IsZero() {
		return nil
	}
	return s.save(ctx, take, false, false)
}

// Save saves a checkpoint that is due: at once, or, unless it is the best so far, when the upload under way is done.
func (s *Saver) Save(ctx context.Context, take Take, best bool) error {
	return s.save(ctx, take, best, best)
}

// SaveNow saves the present state, after the upload under way. It is for the last checkpoint of a run.
func (s *Saver) SaveNow(ctx context.Context, take Take, best bool) error {
	return s.save(ctx, take, best, true)
}

// Resumed says that the run begins with the state of a checkpoint that is there.
func (s *Saver) Resumed(m Meta) { s.taken, s.last = time.Now(), m }

// Has reports whether the last snapshot is of this state.
func (s *Saver) Has(m Meta) bool {
	return !s.taken.IsZero() && s.last.Epoch == m.Epoch && s.last.Step == m.Step && s.last.StepInEpoch == m.StepInEpoch
}

// Flush waits for the upload under way, if any. If ctx ends first, it gives it up.
func (s *Saver) Flush(ctx context.Context) error {
	for s.now != nil {
		if err := s.wait(ctx, nil); err != nil {
			if s.now != nil {
				s.drop()
			}
			return err
		}
	}
	return nil
}

func (s *Saver) save(ctx context.Context, take Take, best, must bool) error {
	if err := s.collect(); err != nil {
		return err
	}
	if s.behind.IsZero() {
		s.behind = time.Now()
	}
	for s.now != nil {
		replaceable := best || !s.now.best
		switch {
		case replaceable && s.now.isFailing():
			s.drop()
		case !must:
			if s.skipped.IsZero() {
				s.skipped = time.Now()
			}
			return nil
		default:
			var failing chan struct{}
			if replaceable {
				failing = s.now.failing
			}
			if err := s.wait(ctx, failing); err != nil {
				return err
			}
		}
	}
	return s.begin(ctx, take, best)
}

// begin takes a snapshot and uploads it. The upload goes on when ctx is cancelled.
func (s *Saver) begin(ctx context.Context, take Take, best bool) error {
	snap, err := take()
	if err != nil {
		return err
	}
	now := time.Now()
	if s.behind.IsZero() { // the upload before became complete while we waited
		s.behind = now
	}
	s.taken, s.last, s.skipped = now, snap.Meta, time.Time{}
	u := &upload{best: best, failing: make(chan struct{}), done: make(chan struct{})}
	ctx, u.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.now = u
	go s.upload(ctx, u, snap, s.behind.Add(s.maxLag))
	return nil
}

// upload saves a snapshot; while the storage is away it tries again until the deadline.
func (s *Saver) upload(ctx context.Context, u *upload, snap Snapshot, deadline time.Time) {
	defer close(u.done)
	defer u.cancel()
	start, waited := time.Now(), func() {}
	defer func() { waited() }()
	for wait := time.Second; ; wait = min(2*wait, longestWait) {
		saved, err := s.checkpoints.Save(store.WithPatience(ctx, patience), snap, u.best)
		switch {
		case err == nil:
			if s.committed != nil {
				s.committed(saved)
			}
			return
		case ctx.Err() != nil, exit.Code(err) != contract.ExitStorage, errors.Is(err, store.ErrCredentials):
			u.err = err
			return
		case time.Until(deadline) < wait:
			u.err = s.lagging(err)
			return
		}
		if !u.isFailing() {
			u.lastErr = err
			close(u.failing)
			waited = telemetry.Wait(ctx, start, fmt.Sprintf("the storage, to save a checkpoint; training goes on: %v", err))
		}
		telemetry.Log(ctx).Warn("checkpoint not saved yet; training goes on", "epoch", snap.Meta.Epoch, "step", snap.Meta.Step, "error", err,
			"retryIn", wait, "giveUpIn", time.Until(deadline).Round(time.Second))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (u *upload) isFailing() bool {
	select {
	case <-u.failing:
		return true
	default:
		return false
	}
}

// lagging is the end of a run whose storage was away for too long.
func (s *Saver) lagging(err error) error {
	const text = "no checkpoint became complete for spec.checkpoint.maxLagSeconds (%g): " +
		"the next attempt goes on from the last one"
	if err == nil {
		return exit.Errorf(contract.ExitStorage, text, s.maxLag.Seconds())
	}
	return exit.Errorf(contract.ExitStorage, text+": %w", s.maxLag.Seconds(), err)
}

// collect takes note of an upload that has ended.
func (s *Saver) collect() error {
	if s.now != nil {
		select {
		case <-s.now.done:
			return s.ended()
		default:
		}
	}
	if s.now != nil && time.Since(s.behind) > s.maxLag {
		s.drop()
		return s.lagging(nil)
	}
	return nil
}

// ended takes the result of the upload.
func (s *Saver) ended() error {
	err := s.now.err
	s.now = nil
	if err == nil {
		s.behind = s.skipped
	}
	return err
}

// drop gives the upload up.
func (s *Saver) drop() {
	s.now.cancel()
	<-s.now.done
	s.now = nil
}

// wait waits until the upload ends, or until failing is closed.
func (s *Saver) wait(ctx context.Context, failing <-chan struct{}) error {
	u := s.now
	tooLate := time.NewTimer(time.Until(s.behind.Add(s.maxLag)) + longestWait) // the upload itself notices first
	defer tooLate.Stop()
	select {
	case <-u.done:
		return s.ended()
	case <-failing:
		return nil
	case <-tooLate.C:
		s.drop()
		return s.lagging(nil)
	case <-ctx.Done():
	}
	if u.isFailing() {
		return exit.Errorf(contract.ExitStorage, "the last checkpoint could not be saved in time; the next attempt goes on from the one before: %w", u.lastErr)
	}
	return ctx.Err()
}
