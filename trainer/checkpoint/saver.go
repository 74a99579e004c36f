package checkpoint

import (
	"context"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// Saver saves checkpoints in the background, one at a time. It is not safe for concurrent use.
type Saver struct {
	checkpoints *Checkpoints
	committed   func(contract.Checkpoint)

	done   chan error // the result of the save under way; nil if there is none
	cancel context.CancelFunc
}

// NewSaver returns a saver. committed, which may be nil, is called in the background with each checkpoint once it is
// complete in the storage.
func NewSaver(c *Checkpoints, committed func(contract.Checkpoint)) *Saver {
	return &Saver{checkpoints: c, committed: committed}
}

// Save hands a snapshot over and returns; its tensors must not change any more. If the save before is not done, it
// waits for it, as long as ctx lasts. The error is that save's; then nothing was handed over. The upload goes on when
// ctx is cancelled: Flush waits for it.
func (s *Saver) Save(ctx context.Context, snap Snapshot, isBest bool) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	s.done = done
	go func() {
		saved, err := s.checkpoints.Save(ctx, snap, isBest)
		if err == nil && s.committed != nil {
			s.committed(saved)
		}
		done <- err
	}()
	return nil
}

// Flush waits for the save under way, if any, and returns its error. If ctx ends first, it cancels the save.
func (s *Saver) Flush(ctx context.Context) error {
	err := s.wait(ctx)
	if err != nil && s.done != nil {
		s.cancel()
		<-s.done
		s.done = nil
	}
	return err
}

// wait returns the result of the save under way. s.done stays set if ctx ended first.
func (s *Saver) wait(ctx context.Context) error {
	if s.done == nil {
		return nil
	}
	select {
	case err := <-s.done:
		s.cancel()
		s.done = nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
