package data

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

func ptr[T any](v T) *T { return &v }

var augmentation = v1.AugmentationSpec{RandomCropPadding: ptr[int32](4), HorizontalFlip: ptr(true)}

// loader returns a loader over im.
func loader(t testing.TB, im *Images, batchSize int, aug v1.AugmentationSpec, seed int64) *Loader {
	t.Helper()
	l, err := NewLoader(&Dataset{Train: *im, Mean: []float32{0.5, 0.25, 0.75}[:im.C], Std: []float32{1, 1, 1}[:im.C]}, batchSize, aug, seed)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// noise returns images whose label is their index.
func noise(n, h, w, c int) *Images {
	im := &Images{N: n, H: h, W: w, C: c, Pixels: make([]byte, n*h*w*c), Labels: make([]int64, n)}
	rand.NewChaCha8([32]byte{}).Read(im.Pixels)
	for i := range im.Labels {
		im.Labels[i] = int64(i)
	}
	return im
}

// collect copies the batches of an epoch.
func collect(l *Loader, epoch int32, firstStep int) (batches []Batch) {
	for b := range l.Epoch(context.Background(), epoch, firstStep) {
		batches = append(batches, Batch{Pixels: slices.Clone(b.Pixels), Labels: slices.Clone(b.Labels), N: b.N})
	}
	return batches
}

func TestEpochsAreShuffledReproducibly(t *testing.T) {
	im := noise(103, 8, 8, 3)
	l := loader(t, im, 10, augmentation, 7)
	first := collect(l, 0, 0)
	if len(first) != 10 || l.StepsPerEpoch() != 10 {
		t.Fatalf("%d batches, %d steps", len(first), l.StepsPerEpoch())
	}
	seen := map[int64]bool{}
	for _, b := range first {
		for _, label := range b.Labels {
			seen[label] = true
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d different images, want 100", len(seen))
	}
	if diff := cmp.Diff(first, collect(loader(t, im, 10, augmentation, 7), 0, 0)); diff != "" {
		t.Error("the same epoch is another one the second time")
	}
	if diff := cmp.Diff(first[4:], collect(l, 0, 4)); diff != "" {
		t.Error("an epoch resumed at step 4 goes on differently")
	}
	for name, other := range map[string][]Batch{"epoch": collect(l, 1, 0), "seed": collect(loader(t, im, 10, augmentation, 8), 0, 0)} {
		if cmp.Equal(first[0].Labels, other[0].Labels) {
			t.Errorf("another %s has the same order", name)
		}
	}
}

// An image is varied in the same way whatever batch size it comes in.
func TestAugmentationBelongsToTheImage(t *testing.T) {
	im := noise(12, 8, 8, 3)
	pixels := func(batchSize int) map[int64]string {
		images := map[int64]string{}
		for _, b := range collect(loader(t, im, batchSize, augmentation, 1), 3, 0) {
			for i, label := range b.Labels {
				images[label] = string(b.Pixels[i*8*8*3 : (i+1)*8*8*3])
			}
		}
		return images
	}
	if diff := cmp.Diff(pixels(3), pixels(4)); diff != "" {
		t.Error("images differ with the batch size")
	}
}

func TestWithoutAugmentationImagesAreCopied(t *testing.T) {
	im := noise(6, 4, 4, 1)
	off := v1.AugmentationSpec{RandomCropPadding: ptr[int32](0), HorizontalFlip: ptr(false)}
	for _, b := range collect(loader(t, im, 2, off, 0), 0, 0) {
		for i, label := range b.Labels {
			if !bytes.Equal(b.Pixels[i*16:(i+1)*16], im.Pixels[label*16:(label+1)*16]) {
				t.Errorf("image %d is changed", label)
			}
		}
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	defer goleak.VerifyNone(t)
	l := loader(t, noise(100, 4, 4, 1), 10, augmentation, 0)
	for range l.Epoch(t.Context(), 0, 0) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for range l.Epoch(ctx, 0, 0) {
		if n++; n == 2 {
			cancel()
		}
	}
	if n >= l.StepsPerEpoch() {
		t.Errorf("%d batches although the context was cancelled", n)
	}
	func() {
		defer func() { recover() }()
		for range l.Epoch(t.Context(), 0, 0) {
			panic("in the loop's body")
		}
	}()
	if got := collect(l, 0, 10); got != nil {
		t.Errorf("%d batches after the last step", len(got))
	}
}

func TestBatchesInOrder(t *testing.T) {
	im := noise(7, 2, 2, 1)
	var sizes []int
	var pixels []byte
	var labels []int64
	for b, err := range im.Batches(t.Context(), 3, 0, 1) {
		if err != nil {
			t.Fatal(err)
		}
		sizes, pixels, labels = append(sizes, b.N), append(pixels, b.Pixels...), append(labels, b.Labels...)
	}
	if !slices.Equal(sizes, []int{3, 3, 1}) || !bytes.Equal(pixels, im.Pixels) || !slices.Equal(labels, im.Labels) {
		t.Errorf("sizes %v, labels %v", sizes, labels)
	}
}

// naiveCropFlip is torchvision's definition, pixel by pixel: F.pad(image, padding), F.crop(top, left, h, w), F.hflip.
func naiveCropFlip(src []byte, h, w, c, padding int, at window) []byte {
	dst := make([]byte, h*w*c)
	for y := range h {
		for x := range w {
			from := x
			if at.flip {
				from = w - 1 - x
			}
			sy, sx := y+at.top-padding, from+at.left-padding
			if sy >= 0 && sy < h && sx >= 0 && sx < w {
				copy(dst[(y*w+x)*c:(y*w+x+1)*c], src[(sy*w+sx)*c:])
			}
		}
	}
	return dst
}

func TestCropFlip(t *testing.T) {
	for _, size := range []struct{ h, w, c, padding int }{{5, 7, 3, 2}, {4, 4, 1, 0}, {3, 2, 3, 5}, {32, 32, 3, 4}} {
		src := noise(1, size.h, size.w, size.c).Pixels
		got := make([]byte, len(src))
		for top := range 2*size.padding + 1 {
			for left := range 2*size.padding + 1 {
				for _, flip := range []bool{false, true} {
					at := window{top, left, flip}
					for i := range got {
						got[i] = 0xee // what the buffer held before
					}
					cropFlip(got, src, size.h, size.w, size.c, size.padding, at)
					if !bytes.Equal(got, naiveCropFlip(src, size.h, size.w, size.c, size.padding, at)) {
						t.Fatalf("%+v %+v", size, at)
					}
				}
			}
		}
	}
}

// The generator decides what a resumed run sees, so it must never change.
func TestGeneratorIsPinned(t *testing.T) {
	if diff := cmp.Diff([]int{1, 2, 6, 5, 0, 9, 4, 3, 8, 7}, permutation(1, 2, 10)); diff != "" {
		t.Errorf("permutation (-want +got):\n%s", diff)
	}
	g := stream(1, 2, 3)
	if got := draw(&g, 4, true); got != (window{1, 7, false}) {
		t.Errorf("window %+v", got)
	}
	if got := g.Uint64(); got != 15703543468425870799 {
		t.Errorf("next number %d", got)
	}
}

// BenchmarkLoader shows how many images a second one worker makes.
func BenchmarkLoader(b *testing.B) {
	crop := augmentation
	crop.Cutout = 12
	reflect := crop
	reflect.PaddingMode = v1.PaddingReflect
	heavy := crop
	heavy.Policy = v1.TrivialAugmentWide
	jittered := crop
	jittered.ColorJitter = &v1.ColorJitterSpec{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}
	all := heavy
	all.ColorJitter = jittered.ColorJitter
	for name, aug := range map[string]v1.AugmentationSpec{"crop-flip": augmentation, "cutout": crop, "reflect": reflect, "trivial": heavy, "jitter": jittered, "all": all} {
		b.Run(name, func(b *testing.B) {
			l := loader(b, noise(10_000, 32, 32, 3), 128, aug, 0)
			var k kit
			image := make([]byte, 32*32*3)
			n := 0
			for ; b.Loop(); n++ {
				if err := l.image(&k, image, 0, n%l.images.N); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

func BenchmarkSynthetic(b *testing.B) {
	for b.Loop() {
		synthetic(1000, 1, 0)
	}
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "images/s")
}
