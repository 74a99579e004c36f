package checkpoint

import (
	"context"
	"fmt"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Owner returns the name of the process that owns the checkpoints in st, the job's folder: no other process ever has
// it. It is "" if there is none yet, or an older attempt than this one; attempt 0 is any. The name is fit for a path.
//
// Errors: exit code 74 if a newer attempt is the owner, 64 if what is there belongs to another job, and those of
// package store.
func Owner(ctx context.Context, st store.Store, job *v1.ResNetTrainingJob, attempt int32) (string, error) {
	c := &Checkpoints{store: st, job: contract.JobPrefix(job.Namespace, job.Name, string(job.UID)), attempt: attempt}
	s, err := c.read(ctx, contract.LatestKey)
	switch p := s.value; {
	case err != nil:
		return "", err
	case attempt != 0 && p.Attempt > attempt:
		return "", c.fenced(p.Attempt)
	case p.Attempt < max(attempt, 1) || p.Owner == "" || strings.ContainsFunc(p.Owner, notOfOwner):
		return "", nil
	default:
		return ownerName(p.Attempt, p.Owner), nil
	}
}

// Owner returns the name of this process.
//
// Errors: exit code 74 if another process owns the checkpoints by now, and those of package store.
func (c *Checkpoints) Owner(ctx context.Context) (string, error) {
	s, err := c.read(ctx, contract.LatestKey)
	if err != nil {
		return "", err
	}
	if s.value.Owner != c.owner {
		return "", c.fenced(s.value.Attempt)
	}
	return ownerName(c.attempt, c.owner), nil
}

func ownerName(attempt int32, owner string) string { return fmt.Sprintf("a%d-%s", attempt, owner) }

// notOfOwner reports whether a character is none of rand.Text.
func notOfOwner(r rune) bool { return !('A' <= r && r <= 'Z' || '2' <= r && r <= '7') }
