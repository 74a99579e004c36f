package trainer

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestMemoryStaysFlat trains after a warm-up, with one processor and with two. A leak of one activation a step would be
// 64 KiB a step. With two it makes fewer steps: on a busy machine the threads wait long for each other.
func TestMemoryStaysFlat(t *testing.T) {
	const child, allowed = "TRAINER_TEST_MEMORY_STEPS", 4 << 20
	if steps, _ := strconv.Atoi(os.Getenv(child)); steps > 0 {
		if grown := memoryGrowth(t, steps); grown > allowed {
			t.Errorf("resident memory grew by %d KiB in %d steps", grown>>10, steps)
		}
		return
	}
	for _, c := range []struct {
		processors string
		threads    int
		steps      int
	}{{"0", 1, 500}, {"0,1", 2, 120}} {
		cmd := exec.Command("taskset", "-c", c.processors, os.Args[0], "-test.run", "^TestMemoryStaysFlat$", "-test.v")
		cmd.Env = append(os.Environ(), fmt.Sprint(child, "=", c.steps), fmt.Sprint("OMP_NUM_THREADS=", c.threads))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("processors %s: %v", c.processors, err)
		}
		t.Logf("processors %s:\n%s", c.processors, out)
	}
}

func memoryGrowth(t *testing.T, steps int) int64 {
	const warmUp = 50
	job := testJob(t.TempDir(), func(s *spec) { s.Training.BatchSize, s.Training.Epochs = 4, 1 })
	job.Spec.Dataset.MaxTrainImages = new(int32(4 * (warmUp + steps)))
	r := buildRun(t, job)
	var before int64
	for batch := range r.step.Batches(t.Context(), 0, 0) {
		if r.state.Step == warmUp {
			before = residentBytes(t)
		}
		if err := r.step.Do(batch, r.plan.At(r.state.Step)); err != nil {
			t.Fatal(err)
		}
		r.state.Advance()
		if err := r.recordStep(); err != nil {
			t.Fatal(err)
		}
	}
	grown := residentBytes(t) - before
	t.Logf("%d KiB before, %d KiB more after %d steps", before>>10, grown>>10, steps)
	return grown
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
