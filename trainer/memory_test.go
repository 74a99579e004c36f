package trainer

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestMemoryStaysFlat makes 500 steps after a warm-up, with one processor and with two. A leak of one activation a
// step would be some 30 MiB.
func TestMemoryStaysFlat(t *testing.T) {
	const child, allowed = "TRAINER_TEST_MEMORY", 8 << 20
	if os.Getenv(child) != "" {
		if grown := memoryGrowth(t, 500); grown > allowed {
			t.Errorf("resident memory grew by %d KiB in 500 steps", grown>>10)
		}
		return
	}
	for processors, threads := range map[string]int{"0": 1, "0,1": 2} {
		cmd := exec.Command("taskset", "-c", processors, os.Args[0], "-test.run", "^TestMemoryStaysFlat$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1", "OMP_NUM_THREADS="+strconv.Itoa(threads))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("processors %s: %v", processors, err)
		}
		t.Logf("processors %s:\n%s", processors, out)
	}
}

func memoryGrowth(t *testing.T, steps int) int64 {
	const warmUp = 100
	job := testJob(t.TempDir(), func(s *spec) { s.Training.BatchSize, s.Training.Epochs = 4, 1 })
	job.Spec.Dataset.MaxTrainImages = new(int32(4 * (warmUp + steps)))
	r := buildRun(t, job, []int64{4, 8, 8, 8})
	var before int64
	for batch := range r.loader.Epoch(t.Context(), 0, 0) {
		if r.meta.Step == warmUp {
			before = residentBytes(t)
		}
		if err := r.step(batch); err != nil {
			t.Fatal(err)
		}
		if err := r.afterStep(); err != nil {
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
