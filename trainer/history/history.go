// Package history keeps the curves of a training within its epochs in bounded space, however long it is.
package history

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// MaxPoints is how many records a Curve has at most, an even number: enough for every pixel of a picture of it.
const MaxPoints = 512

// Curve is a sequence of records of steps. When there are too many, neighbours become one, and from then on a record
// stands for twice as many steps: what it costs does not grow, and all of the training has the same resolution. It is
// part of a checkpoint, so that it goes on over attempts. The zero value is empty.
type Curve struct {
	// Stride is the number of steps from which on a record is complete; 0 is 1.
	Stride int64 `json:"stride,omitempty"`
	// Points are in the order of their steps.
	Points []contract.StepMetrics `json:"points,omitempty"`
}

// Add enters the record of the steps behind the last one. A record whose numbers are not finite is left out: JSON has no
// word for them.
func (c *Curve) Add(p contract.StepMetrics) {
	if p.Steps < 1 || !recordable(p) {
		return
	}
	if n := len(c.Points); n > 0 && c.Points[n-1].Steps < c.Stride {
		c.Points[n-1] = merge(c.Points[n-1], p)
		return
	}
	if len(c.Points) == MaxPoints {
		c.thin()
	}
	c.Points = append(c.Points, p)
}

// thin halves the records.
func (c *Curve) thin() {
	half := c.Points[:0]
	for pair := range slices.Chunk(c.Points, 2) {
		half = append(half, merge(pair[0], pair[1]))
	}
	c.Points, c.Stride = half, 2*max(1, c.Stride)
}

// merge makes one record of two that follow each other.
func merge(a, b contract.StepMetrics) contract.StepMetrics {
	n := float64(a.Steps + b.Steps)
	mean := func(x, y float64) float64 { return x*(float64(a.Steps)/n) + y*(float64(b.Steps)/n) }
	b.Loss, b.GradNorm, b.Steps = mean(a.Loss, b.Loss), mean(a.GradNorm, b.GradNorm), a.Steps+b.Steps
	return b
}

func recordable(p contract.StepMetrics) bool {
	_, err := json.Marshal(p)
	return err == nil
}

// Clone returns a copy that further records do not change.
func (c *Curve) Clone() Curve { return Curve{c.Stride, slices.Clone(c.Points)} }

// JSONLines is the content of steps.jsonl: one record a line.
func (c *Curve) JSONLines() []byte {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, p := range c.Points {
		if err := enc.Encode(p); err != nil {
			panic(err) // Add lets in only what can be encoded
		}
	}
	return lines.Bytes()
}

// Epochs returns finite records of at most contract.MaxEpochs epochs, evenly chosen, with the last one.
func Epochs(all []contract.EpochMetrics) []contract.EpochMetrics {
	stride := (len(all) + contract.MaxEpochs - 1) / contract.MaxEpochs
	if stride > 1 {
		var some []contract.EpochMetrics
		for i := (len(all) - 1) % stride; i < len(all); i += stride {
			some = append(some, all[i])
		}
		all = some
	}
	return contract.FiniteEpochs(all)
}
