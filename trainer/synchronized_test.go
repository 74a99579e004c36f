package trainer

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// synchronized normalises the images of all processes together.
func synchronized(s *spec) { s.Distributed = &v1.DistributedSpec{Normalization: v1.Synchronized} }

// stepLosses trains in n processes of one thread, and returns the losses of every step, and of the test behind it.
func stepLosses(t *testing.T, n int, changes ...func(s *spec)) (losses []float64) {
	t.Helper()
	const steps = 20
	dir := t.TempDir()
	job := groupJob(dir, append([]func(s *spec){func(s *spec) {
		s.Training.Epochs, s.Checkpoint.EveryEpochs = steps, steps // an epoch is a step
		s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.01)}
		s.Training.Schedule = v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 5}
	}}, changes...)...)
	job.Spec.Dataset.MaxTrainImages = &job.Spec.Training.BatchSize
	if n > 1 {
		if code, text := runGroup(t, n, member{Job: job}); code != contract.ExitDone {
			t.Fatal(code, text)
		}
	} else {
		defer libtorch.SetThreads(libtorch.Threads())
		libtorch.SetThreads(1)
		if _, err := runJob(t.Context(), t, job, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range metricsLines(t, read(t, dir, contract.MetricsKey(1))) {
		losses = append(losses, m.TrainLoss, *m.TestLoss)
	}
	return losses
}

// TestSynchronized: processes whose normalisation is synchronised have the losses of one process, which without it they
// have not. Activations are smooth, where more is not allowed: a number near 0 that falls on the other side of ReLU
// changes gradients by thousandths, and the losses of later steps by more and more. So only the first ones are compared
// there.
func TestSynchronized(t *testing.T) {
	smooth := func(s *spec) { s.Model.Activation = v1.SiLU }
	for name, test := range map[string]struct {
		n       int
		change  func(s *spec)
		allowed float64
	}{
		"2 processes":                 {2, smooth, 1e-4},
		"3 processes":                 {3, smooth, 1e-4},
		"3 processes, one image each": {3, func(s *spec) { smooth(s); s.Training.BatchSize = 3 }, 1e-4},
		"2 processes, fused":          {2, func(s *spec) {}, 2e-3},
		"2 processes, frozen at the half": {2, func(s *spec) {
			smooth(s)
			s.Model.Normalization, s.Model.FreezeStatisticsAfter = v1.TinyBatchNorm, new(0.5)
			s.Training.EMA = &v1.EMASpec{Decay: new(0.9)}
		}, 1e-4},
		"2 processes, mixed and weighted": {2, func(s *spec) {
			smooth(s)
			s.Training.Augmentation.MixUp, s.Training.Augmentation.CutMix = &v1.MixSpec{}, &v1.MixSpec{}
			s.Training.Evaluation.PreciseBNBatches = 1
			s.Training.LabelSmoothing, s.Training.ClassWeights = 0.1, &v1.ClassWeightsSpec{Type: v1.ClassWeightsValues,
				Values: []float64{1, 9, 0.1, 2, 5, 1, 1, 4, 0.5, 0.01}}
		}, 1e-4},
		"3 processes, frozen parts that thaw": {3, func(s *spec) {
			smooth(s)
			s.Training.Freeze, s.Training.UnfreezeAfterEpochs = []string{"conv1", "layer1", "layer4.1"}, new(int32(7))
			s.Training.LRMultipliers = map[string]float64{"fc": 2}
		}, 1e-4},
		"3 processes, in parts": {3, func(s *spec) { // each part has a normalisation of its own, of images
			smooth(s)
			s.Model.Normalization, s.Training.GradientAccumulationSteps = v1.GroupNorm, 2
		}, 1e-4},
	} {
		t.Run(name, func(t *testing.T) {
			want := stepLosses(t, 1, test.change)
			compared := len(want)
			if test.allowed > 1e-4 {
				compared = 2 * 4 // of four steps; what is not synchronised differs by thousandths from the first on
			}
			worst := func(got []float64) (worst float64) {
				if len(got) != len(want) {
					t.Fatalf("%d losses, not %d", len(got), len(want))
				}
				for i := range compared {
					worst = max(worst, math.Abs(got[i]-want[i])/want[i])
				}
				return worst
			}
			share := worst(stepLosses(t, test.n, test.change, synchronized))
			t.Logf("at most %.1e, a loss from %.3f to %.3f", share, want[0], want[len(want)-2])
			if !(share <= test.allowed) {
				t.Errorf("a loss differs by %.1e from that of one process", share)
			}
			if name != "2 processes" {
				return
			}
			if share := worst(stepLosses(t, test.n, test.change)); share < 1e-2 {
				t.Errorf("without synchronisation a loss differs by %.1e only: this test shows nothing", share)
			}
		})
	}
}

// TestSynchronizedInterrupted: a rank that is killed in a sum of normalisation, forward or backward, ends the others,
// and the training goes on to the same bits. There are 40 sums in a step, and 4 steps in an epoch.
func TestSynchronizedInterrupted(t *testing.T) {
	for n, ends := range map[int][]member{
		2: {{Rank: 1, Step: 170, Action: "kill in a sum"}, {Rank: 0, Step: 30, Action: "kill in a sum"}, {}},
		3: {{Rank: 2, Step: 190, Action: "kill in a sum"}, {}},
	} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			whole, parts := t.TempDir(), t.TempDir()
			if code, text := runGroup(t, n, member{Job: groupJob(whole, synchronized)}); code != contract.ExitDone {
				t.Fatal(code, text)
			}
			for _, m := range ends {
				m.Job = groupJob(parts, synchronized)
				code, text := runGroup(t, n, m)
				checkEnd(t, m, n, code, text)
			}
			if !bytes.Equal(read(t, whole, contract.ModelKey), read(t, parts, contract.ModelKey)) {
				t.Error("another model than without interruption")
			}
			// It is part of the configuration.
			code, text := runGroup(t, n, member{Job: groupJob(parts)})
			const want = `spec.distributed.normalization was "Synchronized" and is now "PerProcess"`
			if code != contract.ExitConfig || !strings.Contains(text, want) {
				t.Errorf("went on without synchronisation: %d, %s", code, text)
			}
		})
	}
}

// TestSynchronizedDiverges: all end with the same exit code. Each looks by itself for the layer that broke.
func TestSynchronizedDiverges(t *testing.T) {
	job := groupJob(t.TempDir(), synchronized, func(s *spec) {
		s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(1e30), Momentum: new(0.0)}
		s.Training.Schedule = v1.ScheduleSpec{Type: v1.Constant}
	})
	code, text := runGroup(t, 2, member{Job: job})
	if code != contract.ExitDiverged || !strings.Contains(text, "at step 2 of 8 (epoch 1), first in layer1.0.conv1:") {
		t.Errorf("exit code %d: %s", code, text)
	}
}
