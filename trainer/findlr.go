package trainer

import (
	"context"
	"errors"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// FindLROptions are the arguments of a range test; zero values mean the defaults in brackets.
type FindLROptions struct {
	// MinLR [1e-7] and MaxLR [10] are the first and the last learning rate, Steps [100] the number of steps between.
	MinLR, MaxLR float64
	Steps        int
	// CacheDir keeps data that was read from a bucket; "" keeps none.
	CacheDir string
	// Progress, which may be nil, is told of every step as it is done.
	Progress func(p LRPoint, steps int)
}

// LRPoint is one step of a range test.
type LRPoint struct {
	// Step counts from 1.
	Step int     `json:"step"`
	LR   float64 `json:"lr"`
	// Loss is that of the step's batch, Smoothed its exponential moving average.
	Loss     float64 `json:"loss"`
	Smoothed float64 `json:"smoothed"`
}

// LRRange is the result of a range test.
type LRRange struct {
	Points []LRPoint `json:"points"`
	// Suggestion is the learning rate at which the smoothed loss falls most steeply; 0 if it never falls.
	Suggestion float64 `json:"suggestion"`
	// Diverged says that the test ended early, since the loss had exploded.
	Diverged bool `json:"diverged"`
}

// FindLR makes the learning rate range test (Smith, 2017, https://arxiv.org/abs/1506.01186) with the network, data and
// optimiser of a job: the learning rate rises exponentially from step to step. It writes nothing.
func FindLR(ctx context.Context, job *v1.ResNetTrainingJob, opts FindLROptions) (*LRRange, error) {
	return nil, errors.ErrUnsupported
}
