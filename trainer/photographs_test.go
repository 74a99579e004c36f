package trainer

import (
	"os"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/record"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// BenchmarkPhotographs is what the loader does in an epoch over the folder PHOTOGRAPHS of bench/photographs.py, normalised,
// for bench/photographs.sh:
//   - crops: random resized crops of 224×224 and flips, decoded on the fly.
//   - centre: resized and centre-cropped, decoded on the fly.
//   - pixels: the same from decoded pixels in memory, cropped at random.
func BenchmarkPhotographs(b *testing.B) {
	folder := os.Getenv("PHOTOGRAPHS")
	if folder == "" {
		b.Skip("PHOTOGRAPHS names no folder")
	}
	crop := v1.AugmentationSpec{RandomResizedCrop: &v1.RandomResizedCropSpec{}, HorizontalFlip: new(true)}
	for name, aug := range map[string]v1.AugmentationSpec{"crops": crop, "centre": {HorizontalFlip: new(true)}, "pixels": crop} {
		b.Run(name, func(b *testing.B) {
			job := testJob(b.TempDir(), func(s *spec) {
				s.Dataset = v1.DatasetSpec{Format: v1.ImageFolder, URI: "file://" + folder, ImageSize: new(int32(224))}
				s.Training.Augmentation = aug
			})
			open := func(uri string) (store.Store, error) { return store.Open(b.Context(), uri, nil) }
			from := data.Source{DatasetSpec: job.Spec.Dataset, Open: open, Whole: name != "pixels"}
			d, err := data.Load(b.Context(), from)
			if err != nil {
				b.Fatal(err)
			}
			l, err := data.NewLoader(d, 128, aug, 0)
			if err != nil {
				b.Fatal(err)
			}
			epoch := int32(0)
			for b.Loop() {
				for batch := range l.Epoch(b.Context(), epoch, 0) {
					if err := libtorch.Do(func(s *libtorch.Scope) {
						s.Images(batch.Pixels, batch.N, 224, 224, d.Mean, d.Std, libtorch.CPU)
					}); err != nil {
						b.Fatal(err)
					}
				}
				if err := l.Err(); err != nil {
					b.Fatal(err)
				}
				epoch++
			}
			b.ReportMetric(float64(b.N*l.StepsPerEpoch()*128)/b.Elapsed().Seconds(), "images/s")
			b.ReportMetric(float64(record.PeakMemory(libtorch.CPU)>>20), "MiB")
		})
	}
}
