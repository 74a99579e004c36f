package trainer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/recipe"
)

// BenchmarkStep is a step on one batch of images, for bench/train.sh: BATCH images in PRECISION, for the ARCHITECTURE; they
// have 32×32 pixels, or SIZE×SIZE, for which the network then has ImageNet's stem.
func BenchmarkStep(b *testing.B) {
	batchSize, err := strconv.Atoi(os.Getenv("BATCH"))
	if err != nil {
		batchSize = 128
	}
	r := buildRun(b, testJob(b.TempDir(), func(s *spec) {
		s.Model.WidthMultiplier = 1
		s.Dataset.MaxTrainImages = new(int32(batchSize))
		s.Training.BatchSize = int32(batchSize)
		if p := os.Getenv("PRECISION"); p != "" {
			s.Training.Precision = v1.Precision(p)
		}
		if a := os.Getenv("ARCHITECTURE"); a != "" {
			s.Model.Architecture = v1.Architecture(a)
		}
		if size, err := strconv.Atoi(os.Getenv("SIZE")); err == nil && size != 32 {
			s.Model.Stem = v1.StemImageNet
			s.Dataset = v1.DatasetSpec{Format: v1.ImageFolder, URI: "file://" + noise(b, batchSize, size)}
		}
	}))
	for batch := range r.step.Batches(b.Context(), 0, 0) {
		if err := r.step.Do(batch, r.plan.At(0)); err != nil { // warm-up
			b.Fatal(err)
		}
		for b.Loop() {
			if err := r.step.Do(batch, r.plan.At(0)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*batchSize)/b.Elapsed().Seconds(), "images/s")
}

// noise writes n images of size×size random pixels as an ImageFolder of at most ten classes, and returns the folder.
func noise(b *testing.B, n, size int) string {
	folder, g := b.TempDir(), rand.NewChaCha8([32]byte{})
	pixels := make([]byte, 3*size*size)
	for i := range n {
		g.Read(pixels)
		content := append(fmt.Appendf(nil, "P6 %d %d 255\n", size, size), pixels...)
		for _, part := range []string{"train", "test"} {
			name := filepath.Join(folder, part, strconv.Itoa(i%10), strconv.Itoa(i)+".ppm")
			if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(name, content, 0o666); err != nil {
				b.Fatal(err)
			}
		}
	}
	return folder
}

// BenchmarkQuantizedStep makes steps in float, quantised with ranges that move, and quantised with all frozen, in turn,
// and reports what the quantised ones take next to the one in float beside them: medians of time and of processor time.
// $BATCH, $PRECISION and $WIDTH are those of the job.
func BenchmarkQuantizedStep(b *testing.B) {
	batchSize, width := 128, 1.0
	if n, err := strconv.Atoi(os.Getenv("BATCH")); err == nil {
		batchSize = n
	}
	if w, err := strconv.ParseFloat(os.Getenv("WIDTH"), 64); err == nil {
		width = w
	}
	r := buildRun(b, testJob(b.TempDir(), quantised(0, 1), func(s *spec) {
		s.Model.WidthMultiplier = width
		s.Dataset.MaxTrainImages = new(int32(batchSize))
		s.Training.BatchSize = int32(batchSize)
		if p := os.Getenv("PRECISION"); p != "" {
			s.Training.Precision = v1.Precision(p)
		}
	}))
	modes := []struct {
		name string
		set  func(at *recipe.Point)
	}{
		{"float", func(at *recipe.Point) { at.Quantized, at.Observing = false, false }},
		{"observing", func(at *recipe.Point) {}},
		{"frozen", func(at *recipe.Point) { at.Frozen, at.Observing = true, false }},
	}
	ratios, cpuRatios := make([][]float64, len(modes)), make([][]float64, len(modes))
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	for batch := range r.step.Batches(b.Context(), 0, 0) {
		took := func(mode int) (seconds, cpuSeconds float64) {
			at := r.plan.At(0)
			modes[mode].set(&at)
			start, cpuStart := time.Now(), cpu()
			if err := r.step.Do(batch, at); err != nil {
				b.Fatal(err)
			}
			return time.Since(start).Seconds(), cpu() - cpuStart
		}
		for mode := range modes { // warm-up
			took(mode)
		}
		for b.Loop() {
			float, cpuFloat := took(0)
			for mode := 1; mode < len(modes); mode++ {
				wall, cpu := took(mode)
				ratios[mode], cpuRatios[mode] = append(ratios[mode], wall/float), append(cpuRatios[mode], cpu/cpuFloat)
			}
		}
	}
	for mode := 1; mode < len(modes); mode++ {
		for of, values := range map[string][]float64{"": ratios[mode], "-CPU": cpuRatios[mode]} {
			slices.Sort(values)
			b.ReportMetric(values[len(values)/2], modes[mode].name+of+"/float")
		}
	}
}
