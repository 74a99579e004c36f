package resnet

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// TestMemoryOfEvaluation: a forward pass without gradients takes less than half of the memory of a training step on the same images,
// measured as the peaks of processes that do nothing else.
func TestMemoryOfEvaluation(t *testing.T) {
	const child = "RESNET_TEST_MEMORY"
	if mode := os.Getenv(child); mode != "" {
		fmt.Println("grown by", peakGrowth(t, mode))
		return
	}
	for name, spec := range map[string]v1.ModelSpec{
		"BatchNorm": {WidthMultiplier: 0.25}, "GroupNorm": {WidthMultiplier: 0.25, Normalization: v1.GroupNorm, Activation: v1.SiLU},
	} {
		peak := map[string]int64{}
		for _, mode := range []string{"train", "evaluate"} {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestMemoryOfEvaluation$")
			cmd.Env = append(os.Environ(), fmt.Sprint(child, "=", mode), "RESNET_TEST_NORM="+string(spec.Normalization), "RESNET_TEST_ACTIVATION="+string(spec.Activation))
			out, err := cmd.CombinedOutput()
			grown := regexp.MustCompile(`grown by (\d+)`).FindSubmatch(out)
			if err != nil || grown == nil {
				t.Fatalf("%v\n%s", err, out)
			}
			peak[mode], _ = strconv.ParseInt(string(grown[1]), 10, 64)
		}
		t.Logf("%s: training %d MiB, evaluation %d MiB", name, peak["train"]>>20, peak["evaluate"]>>20)
		if 2*peak["evaluate"] > peak["train"] {
			t.Errorf("%s: evaluation takes %d MiB, training %d MiB", name, peak["evaluate"]>>20, peak["train"]>>20)
		}
	}
}

// peakGrowth is by how many bytes a step, or a forward pass, raises the process' peak of resident memory.
func peakGrowth(t *testing.T, mode string) int64 {
	const images, size = 4, 256
	spec := v1.ModelSpec{
		WidthMultiplier: 0.25, Normalization: v1.Normalization(os.Getenv("RESNET_TEST_NORM")), Activation: v1.Activation(os.Getenv("RESNET_TEST_ACTIVATION")),
	}
	net, err := New(network{spec, size}.config(t), testSeed, libtorch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	before := peakResident(t)
	err = libtorch.Do(func(s *libtorch.Scope) {
		x := s.Images(make([]byte, images*size*size*3), images, size, size, testMean, testStd, libtorch.CPU)
		labels := s.Labels(make([]int64, images), libtorch.CPU)
		if mode == "evaluate" {
			s.NoGrad(func() { s.CrossEntropySum(net.Forward(s, x, Eval), labels) })
			return
		}
		s.Backward(libtorch.CrossEntropy{}.Of(s, net.Forward(s, x, Train), labels))
	})
	if err != nil {
		t.Fatal(err)
	}
	return peakResident(t) - before
}

func peakResident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.ParseInt(string(regexp.MustCompile(`VmHWM:\s+(\d+)`).FindSubmatch(status)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
