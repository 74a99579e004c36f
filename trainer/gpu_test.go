package trainer

import (
	"bytes"
	"math"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// needGPU skips a test unless there is a GPU, or one that is emulated: go test -tags cuda_emulated.
func needGPU(t *testing.T) {
	t.Helper()
	if !libtorch.HasKernels(libtorch.CUDA) {
		t.Skip("built without kernels for a GPU")
	}
}

func onGPU(s *spec) { s.Resources.GPUs = 1 }

// TestGPUResumeIsBitExact is TestResumeIsBitExact on a GPU, where two runs have the same bits only if they are told to.
func TestGPUResumeIsBitExact(t *testing.T) {
	needGPU(t)
	all := map[string]func(s *spec){}
	for name, change := range recipes {
		all[name] = func(s *spec) { change(s); onGPU(s); s.Training.Deterministic = true }
	}
	testResume(t, all)
}

// TestGPUTrainsAsCPU runs the same jobs on both. The numbers differ by roundings.
func TestGPUTrainsAsCPU(t *testing.T) {
	needGPU(t)
	all := map[string]func(s *spec){} // the roundings of bf16 are too coarse to compare
	for _, name := range []string{"fp32", "SGD, average, frozen statistics"} {
		all[name] = recipes[name]
	}
	all["by the loader"] = func(s *spec) { s.Training.Augmentation.Policy = v1.TrivialAugmentWide }
	all["SGD without momentum"] = func(s *spec) {
		s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.002), Momentum: new(0.0), WeightDecay: new(5e-4)}
		s.Training.Schedule = v1.ScheduleSpec{Type: v1.Constant}
	}
	for name, change := range all {
		t.Run(name, func(t *testing.T) {
			gpu, cpu := t.TempDir(), t.TempDir()
			for dir, gpus := range map[string]int32{gpu: 1, cpu: 0} {
				if _, err := runJob(t.Context(), t, testJob(dir, func(s *spec) { change(s); s.Resources.GPUs = gpus }), Options{}); err != nil {
					t.Fatal(err)
				}
			}
			compareMetrics(t, read(t, gpu, contract.MetricsKey(1)), read(t, cpu, contract.MetricsKey(1)))
		})
	}
}

// compareMetrics compares the lines of a GPU with those of a CPU.
func compareMetrics(t *testing.T, gpu, cpu []byte) {
	t.Helper()
	got, want := metricsLines(t, gpu), metricsLines(t, cpu)
	for i := range want {
		for what, x := range map[string][2]float64{
			"train loss": {got[i].TrainLoss, want[i].TrainLoss}, "test loss": {*got[i].TestLoss, *want[i].TestLoss},
			"gradient norm": {got[i].GradNorm, want[i].GradNorm}, "lr": {got[i].LR, want[i].LR},
		} {
			if math.Abs(x[0]-x[1]) > 1e-2*math.Abs(x[1]) {
				t.Errorf("epoch %d: %s %g, on the CPU %g", i+1, what, x[0], x[1])
			}
		}
	}
}

// TestGPUProcesses trains on two GPUs as one process does on a CPU (by groups: batch normalisation is of a process), and has the same bits in
// every run, interrupted or not.
func TestGPUProcesses(t *testing.T) {
	needGPU(t)
	if libtorch.CUDADevices() < 2 {
		t.Skip("needs two GPUs")
	}
	groups := func(s *spec) { s.Model.Normalization, s.Model.NormalizationGroups = v1.GroupNorm, new(int32(2)) }
	two := func(s *spec) { groups(s); s.Resources.GPUs, s.Training.Deterministic = 2, true }
	whole, parts, cpu := t.TempDir(), t.TempDir(), t.TempDir()
	if code, text := runGroup(t, 2, member{Job: groupJob(whole, two)}); code != contract.ExitDone {
		t.Fatal(code, text)
	}
	if _, err := runJob(t.Context(), t, groupJob(cpu, groups), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []member{{Rank: 1, Step: 5, Action: "kill"}, {}} {
		m.Job = groupJob(parts, two)
		code, text := runGroup(t, 2, m)
		checkEnd(t, m, 2, code, text)
	}
	if !bytes.Equal(read(t, whole, contract.ModelKey), read(t, parts, contract.ModelKey)) {
		t.Error("another model than without interruption")
	}
	compareMetrics(t, read(t, whole, contract.MetricsKey(1)), read(t, cpu, contract.MetricsKey(1)))
}

// TestFindLROnGPU makes steps one by one, at rates that no schedule has.
func TestFindLROnGPU(t *testing.T) {
	needGPU(t)
	opts := FindLROptions{MinLR: 1e-5, MaxLR: 3e-3, Steps: 12}
	got, err1 := FindLR(t.Context(), testJob(t.TempDir(), onGPU), opts)
	want, err2 := FindLR(t.Context(), testJob(t.TempDir()), opts)
	if err1 != nil || err2 != nil || len(got.Points) != len(want.Points) {
		t.Fatal(err1, err2, got, want)
	}
	for i, p := range want.Points {
		if q := got.Points[i]; q.LR != p.LR || math.Abs(q.Loss-p.Loss) > 2e-3*p.Loss {
			t.Errorf("step %d: %+v, on the CPU %+v", i+1, q, p)
		}
	}
}
