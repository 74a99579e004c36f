package checkpoint

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// TestOpenTriesTheStorage: a server that would let two attempts overwrite each other is refused before anything is
// written but what tries it.
func TestOpenTriesTheStorage(t *testing.T) {
	server := &storetest.Flawed{IgnoreIfMatch: true, IgnoreIfNoneMatch: true}
	st, err := store.Open(t.Context(), "s3://"+storetest.Bucket+"/p", server.Serve(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), store.Sub(st, "team/job/uid"), testJob(), 1)
	if exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), "spec.storage.uri: the S3 server at ") {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
	if keys := server.Keys(); len(keys) > 0 {
		t.Errorf("left over: %v", keys)
	}
}

// stubborn refuses every conditional write of an object that is there, as a server does whose ETags are changed on the
// way.
type stubborn struct {
	memory
	tries int
}

func (s *stubborn) PutIf(ctx context.Context, key string, data []byte, ifMatch string) (string, error) {
	if s.tries++; ifMatch != "" {
		return "", fmt.Errorf("%s: %w", key, store.ErrPreconditionFailed)
	}
	return s.memory.PutIf(ctx, key, data, ifMatch)
}

func TestWritesThatAreAlwaysRefusedEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet(t)
		st := &stubborn{memory: memory{}}
		c, err := Open(t.Context(), st, testJob(), 1)
		if err != nil {
			t.Fatal(err)
		}
		_, saveErr := c.Save(t.Context(), snapshotOf(Meta{Step: 1}), false)
		_, openErr := Open(t.Context(), st, testJob(), 2)
		for _, err := range []error{saveErr, openErr} {
			if exit.Code(err) != contract.ExitStorage || !strings.Contains(err.Error(), "latest.json: the storage refused 20 conditional writes") {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		}
		if st.tries > 1+2*mostTries {
			t.Errorf("%d tries", st.tries)
		}
	})
}

// TestRefusedCredentialsEndTheAttempt: training on would be in vain, for this process has no other credentials.
func TestRefusedCredentialsEndTheAttempt(t *testing.T) {
	train(t, v1.CheckpointSpec{}, func(t *testing.T, r *training) {
		r.set(0, exit.Errorf(contract.ExitStorage, "s3: %w", store.ErrCredentials))
		r.save(true)
		time.Sleep(time.Second)
		if err := r.Step(t.Context(), r.take); exit.Code(err) != contract.ExitStorage || !strings.Contains(err.Error(), "no longer valid") {
			t.Errorf("exit code %d: %v", exit.Code(err), err)
		}
	})
}
