package data

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

var everything = v1.AugmentationSpec{
	Policy: v1.TrivialAugmentWide, RandomCropPadding: ptr[int32](4), PaddingMode: v1.PaddingReflect, HorizontalFlip: ptr(true),
	ColorJitter: &v1.ColorJitterSpec{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}, Cutout: 8,
}

// evenly checks that each of the counts is what n equally likely draws give, within six standard deviations. The draws
// are the same in every run, so this either always holds or never.
func evenly(t *testing.T, what string, counts []int) {
	t.Helper()
	n := 0
	for _, c := range counts {
		n += c
	}
	p := 1 / float64(len(counts))
	for i, c := range counts {
		if d := float64(c) - float64(n)*p; math.Abs(d) > 6*math.Sqrt(float64(n)*p*(1-p)) {
			t.Errorf("%s: %d of %d draws are number %d of %d", what, c, n, i, len(counts))
		}
	}
}

func TestDrawsAreUniform(t *testing.T) {
	const n = 200_000
	tops, lefts, flips := make([]int, 9), make([]int, 9), make([]int, 2)
	ops, bins, signs := make([]int, trivialOps), make([]int, policyBins), make([]int, 2)
	cutY, cutX := make([]int, 32), make([]int, 24)
	orders, factors := map[[jitters]int]int{}, [jitters][]int{}
	for i := range factors {
		factors[i] = make([]int, 10)
	}
	a := &augmenter{h: 32, w: 24, c: 3, padding: 4, flip: true, policy: trivialAugment{}, jitter: jitter{*everything.ColorJitter}, cutout: 8}
	spread := [jitters]float64{0.4, 0.4, 0.4, 0.1}
	for i := range n {
		g := stream(1, 2, i)
		c := a.choose(&g)
		tops[c.top]++
		lefts[c.left]++
		flips[map[bool]int{false: 0, true: 1}[c.flip]]++
		ops[c.policy[0].op]++
		if r, ok := policyRange[c.policy[0].op]; ok && c.policy[0].op != opPosterize {
			bins[slices.Index(policyMagnitudes[c.policy[0].op][:], math.Abs(c.policy[0].magnitude))]++
			if r.signed && c.policy[0].magnitude != 0 {
				signs[map[bool]int{false: 0, true: 1}[c.policy[0].magnitude < 0]]++
			}
		}
		cutY[c.cutY]++
		cutX[c.cutX]++
		orders[c.jitter.order]++
		for k, f := range c.jitter.factor {
			centre := 1.0
			if k == jitterHue {
				centre = 0
			}
			factors[k][int((f-centre+spread[k])/(2*spread[k])*10)]++ // panics if it is outside
		}
	}
	var counts []int
	for _, c := range orders {
		counts = append(counts, c)
	}
	if len(counts) != 24 {
		t.Errorf("%d orders of the adjustments", len(counts))
	}
	evenly(t, "order of jitter", counts)
	for name, counts := range map[string][]int{"top": tops, "left": lefts, "flip": flips, "op": ops, "bin": bins, "sign": signs,
		"cutout y": cutY, "cutout x": cutX, "brightness": factors[0], "contrast": factors[1], "saturation": factors[2], "hue": factors[3]} {
		evenly(t, name, counts)
	}
}

// The window of an image is the same with and without other augmentation, so that results do not move.
func TestWindowDoesNotDependOnTheRest(t *testing.T) {
	plain := &augmenter{h: 32, w: 32, c: 3, padding: 4, flip: true}
	all := &augmenter{h: 32, w: 32, c: 3, padding: 4, flip: true, policy: trivialAugment{}, jitter: jitter{*everything.ColorJitter}, cutout: 8}
	for i := range 50 {
		g, h := stream(3, 1, i), stream(3, 1, i)
		if a, b := plain.choose(&g), all.choose(&h); a.window != b.window {
			t.Errorf("image %d: %+v and %+v", i, a.window, b.window)
		}
	}
}

// naiveCutout is the definition in github.com/uoguelph-mlrg/Cutout, pixel by pixel.
func naiveCutout(img []byte, h, w, c, side, y, x int, fill [3]byte) {
	for r := range h {
		for k := range w {
			if r >= y-side/2 && r < y+side/2 && k >= x-side/2 && k < x+side/2 {
				copy(img[(r*w+k)*c:(r*w+k)*c+c], fill[:c])
			}
		}
	}
}

func TestCutout(t *testing.T) {
	for _, size := range []struct{ h, w, c, side int }{{9, 7, 3, 4}, {6, 6, 1, 6}, {4, 4, 3, 20}} {
		fill := [3]byte{1, 2, 3}
		for y := range size.h {
			for x := range size.w {
				got := noise(1, size.h, size.w, size.c).Pixels
				want := slices.Clone(got)
				cutout(got, size.h, size.w, size.c, size.side, y, x, fill)
				naiveCutout(want, size.h, size.w, size.c, size.side, y, x, fill)
				if !bytes.Equal(got, want) {
					t.Fatalf("%+v at %d, %d", size, y, x)
				}
			}
		}
	}
	odd := make([]byte, 49)
	cutout(odd, 7, 7, 1, 3, 3, 3, [3]byte{1})
	if n := bytes.Count(odd, []byte{1}); n != 9 {
		t.Errorf("a side of 3 fills %d pixels", n)
	}
}

func TestCutoutFillsWithTheMeanColour(t *testing.T) {
	aug := v1.AugmentationSpec{Cutout: 64}
	l := loader(t, noise(4, 8, 8, 3), 4, aug, 0)
	for _, b := range collect(l, 0, 0) {
		if want := bytes.Repeat([]byte{128, 64, 191}, 4*8*8); !bytes.Equal(b.Pixels, want) {
			t.Errorf("filled with %v", b.Pixels[:3])
		}
	}
}

// In the order policy, crop, flip, jitter, cutout: the last one wins, the first one is cropped.
func TestOrderOfAugmentations(t *testing.T) {
	im := picture(16, 16, 3)
	a := &augmenter{h: 16, w: 16, c: 3, padding: 4, flip: true, policy: trivialAugment{}, jitter: jitter{*everything.ColorJitter}, cutout: 6, fill: [3]byte{7, 7, 7}}
	for i := range 30 {
		g := stream(2, 0, i)
		c := a.choose(&g)
		got, scratch := make([]byte, len(im.Pixels)), make([]byte, 2*len(im.Pixels))
		a.apply(got, im.Pixels, scratch, c)

		step, want := slices.Clone(im.Pixels), make([]byte, len(im.Pixels))
		a.applyPolicy(step, im.Pixels, c.policy[0])
		cropFlip(want, step, 16, 16, 3, 4, c.window)
		applyJitter(want, 3, c.jitter)
		cutout(want, 16, 16, 3, 6, c.cutY, c.cutX, a.fill)
		if !bytes.Equal(got, want) {
			t.Errorf("image %d differs", i)
		}
	}
	if !bytes.Equal(im.Pixels, picture(16, 16, 3).Pixels) {
		t.Error("the source was changed")
	}
}

func TestWorkersDoNotChangeTheOrder(t *testing.T) {
	im := noise(50, 8, 8, 3)
	one := loader(t, im, 4, everything, 3)
	one.crew = &crew{size: 1, most: 1}
	want := collect(one, 1, 2)
	for _, workers := range []int{2, 3, 40} {
		many := loader(t, im, 4, everything, 3)
		many.crew = &crew{size: workers, most: workers}
		if !cmp.Equal(want, collect(many, 1, 2)) {
			t.Errorf("%d workers give other batches", workers)
		}
	}
}

func TestWaited(t *testing.T) {
	l := loader(t, noise(64, 8, 8, 3), 8, everything, 0)
	collect(l, 0, 0)
	if l.Waited() <= 0 {
		t.Errorf("waited %v, although the first batch is never there at once", l.Waited())
	}
	before := l.Waited()
	next := 0
	for range l.Epoch(context.Background(), 1, 0) {
		if next++; next > 1 {
			time.Sleep(2 * time.Millisecond) // the caller computes; this is not waiting
		}
	}
	if more := l.Waited() - before; more < 0 {
		t.Errorf("waited %v", more)
	}
}

func TestPaddingTooLargeToReflect(t *testing.T) {
	d := &Dataset{Train: *noise(1, 8, 12, 3), Mean: make([]float32, 3), Std: make([]float32, 3)}
	_, err := NewLoader(d, 1, v1.AugmentationSpec{RandomCropPadding: ptr[int32](8), PaddingMode: v1.PaddingReflect}, 0)
	want := "spec.training.augmentation.randomCropPadding: 8 pixels cannot be reflected in images of 8×12: set it below 8"
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v", err)
	}
	if _, err := NewLoader(d, 1, v1.AugmentationSpec{RandomCropPadding: ptr[int32](7), PaddingMode: v1.PaddingReflect}, 0); err != nil {
		t.Error(err)
	}
}

// TestDigitsAreNotMirrored, unless the job says so.
func TestDigitsAreNotMirrored(t *testing.T) {
	for _, test := range []struct {
		format v1.DatasetFormat
		flip   *bool
		want   bool
	}{
		{v1.MNIST, nil, false},
		{v1.MNIST, ptr(true), true},
		{v1.FashionMNIST, nil, true},
		{v1.CIFAR10, nil, true},
		{v1.ImageFolder, ptr(false), false},
	} {
		d := &Dataset{Name: string(test.format), Train: Images{N: 1, H: 8, W: 8, C: 1}}
		a, err := newAugmenter(d, v1.AugmentationSpec{HorizontalFlip: test.flip})
		if err != nil || a.flip != test.want {
			t.Errorf("%s: %v, %v", test.format, a.flip, err)
		}
	}
}
