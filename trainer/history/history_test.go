package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

func point(step int64, loss float64) contract.StepMetrics {
	return contract.StepMetrics{Step: step, Steps: 1, Loss: loss, GradNorm: 2 * loss, LR: 1 / float64(step), ImagesPerSecond: 100}
}

// The loss of step n is n, so that the mean of successive steps is known.
func TestCurveIsBoundedAndKeepsItsMeans(t *testing.T) {
	for _, steps := range []int64{1, MaxPoints, MaxPoints + 1, 5000, 100_003} {
		var c Curve
		for n := int64(1); n <= steps; n++ {
			c.Add(point(n, float64(n)))
		}
		if n := len(c.Points); n > MaxPoints || int64(n) < min(steps, MaxPoints/2) {
			t.Fatalf("%d points of %d steps", n, steps)
		}
		before := int64(0)
		for i, p := range c.Points {
			mean := float64(before+1+p.Step) / 2
			switch {
			case p.Step-before != p.Steps:
				t.Fatalf("point %d of %d steps ends with step %d and stands for %d, the one before ends with %d", i, steps, p.Step, p.Steps, before)
			case math.Abs(p.Loss-mean) > 1e-6*mean || math.Abs(p.GradNorm-2*mean) > 2e-6*mean || p.LR != 1/float64(p.Step):
				t.Fatalf("point %d of %d steps: %+v, want the mean %g", i, steps, p, mean)
			case i < len(c.Points)-1 && p.Steps != max(1, c.Stride):
				t.Fatalf("point %d stands for %d steps, others for %d", i, p.Steps, c.Stride)
			}
			before = p.Step
		}
		if before != steps {
			t.Errorf("the last point ends with step %d of %d", before, steps)
		}
	}
}

func TestCurveGoesOnFromACheckpoint(t *testing.T) {
	var whole, cut Curve
	for n := int64(1); n <= 3000; n++ {
		whole.Add(point(n, float64(n)))
		cut.Add(point(n, float64(n)))
		if n == 1234 {
			encoded, err := json.Marshal(cut)
			if err != nil {
				t.Fatal(err)
			}
			cut = Curve{}
			if err := json.Unmarshal(encoded, &cut); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(whole.JSONLines(), cut.JSONLines()) {
		t.Error("the curve of an interrupted training differs")
	}
}

func TestCloneIsNotChanged(t *testing.T) {
	var c Curve
	for n := int64(1); n <= MaxPoints; n++ {
		c.Add(point(n, 1))
	}
	clone := c.Clone()
	before := clone.JSONLines()
	c.Add(point(MaxPoints+1, 5))
	if !bytes.Equal(before, clone.JSONLines()) {
		t.Error("the copy changed")
	}
}

func TestLinesHoldOnlyFiniteNumbers(t *testing.T) {
	var c Curve
	c.Add(contract.StepMetrics{})
	for _, loss := range []float64{1, math.NaN(), math.Inf(1), 2} {
		c.Add(point(int64(len(c.Points)+1), loss))
	}
	lines := bufio.NewScanner(bytes.NewReader(c.JSONLines()))
	n := 0
	for ; lines.Scan(); n++ {
		var p contract.StepMetrics
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil || p != c.Points[n] {
			t.Errorf("line %d: %s: %v", n, lines.Text(), err)
		}
	}
	if n != 2 {
		t.Errorf("%d lines", n)
	}
}

func TestEpochsAreBounded(t *testing.T) {
	for _, n := range []int32{0, 1, contract.MaxEpochs, contract.MaxEpochs + 1, 20_000} {
		all := make([]contract.EpochMetrics, n)
		for i := range all {
			all[i] = contract.EpochMetrics{Epoch: int32(i) + 1, TestLoss: new(math.NaN())}
		}
		got := Epochs(all)
		if len(got) > contract.MaxEpochs || len(got) < min(len(all), contract.MaxEpochs/2) {
			t.Errorf("%d of %d", len(got), n)
		}
		if n > 0 && got[len(got)-1].Epoch != n {
			t.Errorf("the last of %d is %d", n, got[len(got)-1].Epoch)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	}
}
