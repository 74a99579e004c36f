package checkpoint

import (
	"fmt"
	"testing"
)

// TestBestFollowsFromTheHistoryAlone: whatever checkpoints were saved in between because the run was interrupted, the
// last one for which IsBest was true is the same.
func TestBestFollowsFromTheHistoryAlone(t *testing.T) {
	scores := []float64{0.1, 0.5, 0.9, 0.4, 0.8, 0.3, 0.6}
	for name, test := range map[string]struct {
		every, began, epochs int32
		mid                  bool  // the state was taken in the middle of an epoch
		want                 int32 // epoch
	}{
		"every epoch": {every: 1, epochs: 7, want: 3},
		"every second epoch, which misses the best": {every: 2, epochs: 7, want: 7},
		"the last epoch always counts":              {every: 4, epochs: 5, want: 5},
		"the best is before the last":               {every: 2, epochs: 6, want: 2},
		"from another training":                     {every: 2, began: 4, epochs: 6, want: 4},
		"from another training, the taken state":    {every: 4, began: 5, epochs: 6, want: 5},
		"from the middle of an epoch":               {every: 4, began: 6, mid: true, epochs: 7, want: 7},
		"a state that was the end":                  {every: 4, began: 6, epochs: 6, want: 6},
	} {
		t.Run(name, func(t *testing.T) {
			for interrupted := range 1 << test.epochs { // after which epochs
				best := int32(0)
				m := Meta{Began: test.began}
				save := func(ended bool) {
					if m.IsBest(test.every, ended) {
						best = m.Epoch
					}
				}
				for epoch := int32(1); epoch <= test.epochs; epoch++ {
					m.StepInEpoch = 5
					if epoch >= test.began {
						save(false) // in the middle of an epoch
					}
					m.Epoch, m.StepInEpoch = epoch, 0
					m.History = append(m.History, EpochMetrics{Epoch: epoch, Accuracy: &scores[epoch-1]})
					own := epoch > test.began || epoch == test.began && !test.mid
					if own && m.Due(test.every) || epoch == test.began {
						save(false)
					}
					if own && interrupted>>(epoch-1)&1 == 1 && epoch < test.epochs {
						save(false)
					}
				}
				save(true)
				if best != test.want {
					t.Fatalf("interrupted %s: epoch %d, want %d", fmt.Sprintf("%07b", interrupted), best, test.want)
				}
			}
		})
	}
}
