package data

import (
	"slices"
	"testing"
)

// A sample is drawn from all classes, whatever the order of the images; each image comes once, as it is.
func TestSample(t *testing.T) {
	im := &Images{N: 100, H: 1, W: 2, C: 1}
	for i := range im.N {
		im.Pixels = append(im.Pixels, byte(i), byte(i+100))
		im.Labels = append(im.Labels, int64(i/10)) // class by class
	}
	sample := func(seed int64, batchSize, batches int) (sizes []int, images []int64) {
		for b, err := range im.Sample(t.Context(), seed, batchSize, batches) {
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, b.N)
			for i, label := range b.Labels {
				first, second := b.Pixels[2*i], b.Pixels[2*i+1]
				if second != first+100 || int64(first)/10 != label {
					t.Fatalf("pixels %d and %d of class %d", first, second, label)
				}
				images = append(images, int64(first))
			}
		}
		return sizes, images
	}
	sizes, images := sample(1, 8, 5)
	classes := map[int64]bool{}
	for _, i := range images {
		classes[i/10] = true
	}
	if !slices.Equal(sizes, []int{8, 8, 8, 8, 8}) || len(classes) != 10 {
		t.Errorf("batches of %v, %d classes", sizes, len(classes))
	}
	if _, again := sample(1, 8, 5); !slices.Equal(again, images) {
		t.Error("the same seed draws other images")
	}
	if _, other := sample(2, 8, 5); slices.Equal(other, images) {
		t.Error("another seed draws the same images")
	}
	sizes, images = sample(1, 32, 5)
	slices.Sort(images)
	if !slices.Equal(sizes, []int{32, 32, 32, 4}) || len(slices.Compact(images)) != 100 {
		t.Errorf("batches of %v, %d images", sizes, len(images))
	}
}
