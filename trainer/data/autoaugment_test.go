package data

import (
	"fmt"
	"slices"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// automatically varies an image by nothing but a policy.
func automatically(im *Images, aug v1.AugmentationSpec, seed int64, index int) []byte {
	a := &augmenter{h: im.H, w: im.W, c: im.C, policy: policyOf(aug, im.H, im.W)}
	g := stream(seed, 0, index)
	out := make([]byte, len(im.Pixels))
	a.apply(out, im.Pixels, make([]byte, 2*len(out)), a.choose(&g))
	return out
}

// The same operations, in the same order and strength, are applied to the same bytes.
func TestAutomaticAugmentationAgainstTorchvision(t *testing.T) {
	rand := func(ops, magnitude int32) v1.AugmentationSpec {
		return v1.AugmentationSpec{Policy: v1.RandAugment, RandAugment: &v1.RandAugmentSpec{NumOps: &ops, Magnitude: &magnitude}}
	}
	var cases []peerCase
	got := map[string][]byte{}
	for name, test := range map[string]struct {
		aug   v1.AugmentationSpec
		peer  []any
		draws int
	}{
		"AutoAugment CIFAR10":  {v1.AugmentationSpec{Policy: v1.AutoAugmentCIFAR10}, []any{"AutoAugment", []any{"cifar10"}}, 100},
		"AutoAugment ImageNet": {v1.AugmentationSpec{Policy: v1.AutoAugmentImageNet}, []any{"AutoAugment", []any{"imagenet"}}, 100},
		"RandAugment":          {v1.AugmentationSpec{Policy: v1.RandAugment}, []any{"RandAugment", []any{2, 9}}, 40},
		"RandAugment, much":    {rand(5, 30), []any{"RandAugment", []any{5, 30}}, 20},
		"RandAugment, nothing": {rand(1, 0), []any{"RandAugment", []any{1, 0}}, 20},
	} {
		for subject, im := range map[string]*Images{"rgb": picture(32, 32, 3), "wide": picture(23, 41, 3), "grey": picture(17, 16, 1)} {
			for i := range test.draws {
				id := fmt.Sprint(name, " ", subject, " ", i)
				cases = append(cases, im.peer("automatic", id, peerCase{"transform": test.peer, "random": given(6, i)}))
				got[id] = automatically(im, test.aug, 6, i)
			}
		}
	}
	changed := 0
	for id, want := range torchvision(t, cases) {
		if count, most := differences(got[id], want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", id, count, len(want), most)
		}
		if !slices.Equal(got[id][:5], []byte{got[id][0], got[id][0], got[id][0], got[id][0], got[id][0]}) {
			changed++
		}
	}
	if changed == 0 {
		t.Error("all images are of one colour")
	}
}

func TestRandomErasingAgainstTorchvision(t *testing.T) {
	var cases []peerCase
	got := map[string][]byte{}
	erased := 0
	for name, test := range map[string]struct {
		spec         v1.RandomErasingSpec
		scale, ratio []float64
	}{
		"default": {v1.RandomErasingSpec{}, []float64{0.02, 0.33}, []float64{0.3, 3.3}},
		"always":  {v1.RandomErasingSpec{Probability: ptr(1.)}, []float64{0.02, 0.33}, []float64{0.3, 3.3}},
		"never":   {v1.RandomErasingSpec{Probability: ptr(0.)}, []float64{0.02, 0.33}, []float64{0.3, 3.3}},
		"large":   {v1.RandomErasingSpec{Probability: ptr(1.), Scale: []float64{0.8, 1}, Ratio: []float64{0.2, 5}}, []float64{0.8, 1}, []float64{0.2, 5}},
	} {
		for subject, im := range map[string]*Images{"rgb": picture(32, 32, 3), "wide": picture(23, 41, 3), "grey": picture(17, 16, 1)} {
			for i := range 25 {
				id := fmt.Sprint(name, " ", subject, " ", i)
				e := newRandomErasing(&test.spec, im.H, im.W)
				cases = append(cases, im.peer("random_erasing", id, peerCase{"p": e.probability, "scale": test.scale, "ratio": test.ratio, "random": given(8, i)}))
				g := stream(8, 0, i)
				got[id] = slices.Clone(im.Pixels)
				erase(got[id], im.W, im.C, e.draw(&g), [3]byte{7, 7, 7})
				if !slices.Equal(got[id], im.Pixels) {
					erased++
				}
			}
		}
	}
	for id, want := range torchvision(t, cases) {
		if count, _ := differences(got[id], want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ", id, count, len(want))
		}
	}
	if erased == 0 || erased == len(got) {
		t.Errorf("%d of %d images are erased", erased, len(got))
	}
}

// A policy leaves the window of an image as it is without it, and a GPU does not make it.
func TestAutomaticAugmentationInALoader(t *testing.T) {
	im := noise(16, 8, 8, 3)
	for name, aug := range map[string]v1.AugmentationSpec{
		"policy": {Policy: v1.RandAugment}, "erasing": {RandomErasing: &v1.RandomErasingSpec{Probability: ptr(1.)}},
	} {
		l := loader(t, im, 8, aug, 1)
		if batches := collect(l, 0, 0); len(batches) != 2 || slices.Equal(batches[0].Pixels[:192], im.Pixels[192*batches[0].Labels[0]:][:192]) && name == "erasing" {
			t.Errorf("%s: %d batches, or nothing is erased", name, len(batches))
		}
		if _, ok := l.Crops(); ok {
			t.Errorf("%s: a GPU would have to make it", name)
		}
	}
}
