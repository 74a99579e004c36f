package data

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// TestBeta compares what is drawn with the distribution: Kolmogorov and Smirnov's distance of 40,000 numbers is below 0.01 in all but
// one of a thousand cases, and the draws do not change.
func TestBeta(t *testing.T) {
	const n, steps = 40_000, 20_000
	for _, alpha := range []float64{0.1, 0.2, 0.5, 1, 1.5, 4, 10, 30} {
		g := stream(3, 0, mixStream)
		drawn := make([]float64, n)
		for i := range drawn {
			drawn[i] = beta(&g, alpha)
			if !(drawn[i] >= 0 && drawn[i] <= 1) {
				t.Fatalf("alpha %g: drew %g", alpha, drawn[i])
			}
		}
		slices.Sort(drawn)
		// The density x^(α−1)(1−x)^(α−1) up to a half, summed over t = x^p, which takes its pole away where there is one.
		p := min(alpha, 1)
		half, sums := math.Pow(0.5, p), make([]float64, steps+1)
		for i := range steps {
			x := math.Pow(half*(float64(i)+0.5)/steps, 1/p)
			sums[i+1] = sums[i] + math.Pow(x, alpha-p)*math.Pow(1-x, alpha-1)
		}
		below := func(x float64) float64 { return sums[int(math.Pow(x, p)/half*steps)] / sums[steps] / 2 }
		var worst float64
		for i, x := range drawn {
			share := 1 - below(min(1-x, 0.5))
			if x <= 0.5 {
				share = below(x)
			}
			if x < 1 { // or it is nearer to 1 than a float64 can be: of alpha 0.1, one of a hundred
				worst = max(worst, math.Abs(share-(float64(i)+0.5)/n))
			}
		}
		if worst > 0.01 {
			t.Errorf("alpha %g: the distance from the distribution is %g", alpha, worst)
		}
	}
	g := rand.NewPCG(1, 2)
	for _, want := range []struct{ alpha, lambda float64 }{{0.2, golden[0]}, {1, golden[1]}, {2, golden[2]}} {
		if got := beta(g, want.alpha); math.Abs(got-want.lambda) > 1e-12 {
			t.Errorf("alpha %g: drew %.16g, once %.16g", want.alpha, got, want.lambda)
		}
	}
}

var golden = []float64{0.7517760099056408, 0.8504246095578579, 0.4999376016332949}

// TestMixingOfSlices: the slices of a batch, each behind the image before it, are the whole batch, mixed in the same way; and which of
// two ways is drawn for each batch anew.
func TestMixingOfSlices(t *testing.T) {
	im := noise(40, 8, 8, 3)
	aug := augmentation
	aug.MixUp, aug.CutMix = &v1.MixSpec{Alpha: ptr(0.2)}, &v1.MixSpec{}
	whole := collect(loader(t, im, 10, aug, 7), 1, 0)
	kinds := map[bool]int{}
	for _, b := range whole {
		kinds[b.Mix.Blend == 1]++
	}
	for rank := range 2 {
		l := loader(t, im, 10, aug, 7)
		l.Slice(rank, 2)
		if l.BatchSize() != 6 || !l.Before() {
			t.Fatalf("serves %d images", l.BatchSize())
		}
		for step, b := range collect(l, 1, 0) {
			all := whole[step]
			size := len(all.Pixels) / 10
			wanted := append(slices.Clone(all.Labels[(rank*5+9)%10:][:1]), all.Labels[rank*5:][:5]...)
			pixels := append(slices.Clone(all.Pixels[(rank*5+9)%10*size:][:size]), all.Pixels[rank*5*size:][:5*size]...)
			if !slices.Equal(b.Labels, wanted) || !slices.Equal(b.Pixels, pixels) || b.Mix != all.Mix {
				t.Errorf("rank %d, step %d: %v %+v, want %v %+v", rank, step, b.Labels, b.Mix, wanted, all.Mix)
			}
		}
	}
	l := loader(t, im, 10, aug, 7)
	for epoch := range int32(20) {
		for step := range 4 {
			m := l.Whole(epoch)(step).Mix
			kinds[m.Blend == 1]++
			if again := l.Whole(epoch)(step).Mix; again != m || m.Lambda < 0 || m.Lambda > 1 {
				t.Errorf("%+v, and %+v", m, again)
			}
		}
	}
	if kinds[true] < 25 || kinds[false] < 25 {
		t.Errorf("CutMix and MixUp: %v", kinds)
	}
}

// TestBalancedSampler draws from classes of 90, 9 and 1 images: each class comes alike often, and an image that comes again is augmented
// anew.
func TestBalancedSampler(t *testing.T) {
	im := noise(100, 8, 8, 3)
	for i := range im.Labels {
		im.Labels[i] = 0
		if i >= 90 {
			im.Labels[i] = 1
		}
	}
	im.Labels[99] = 2
	l := loader(t, im, 10, v1.AugmentationSpec{HorizontalFlip: ptr(true), RandomCropPadding: ptr[int32](4)}, 7)
	l.Balance()
	counts, of2 := map[int64]int{}, map[string]bool{}
	const epochs = 30
	for epoch := range int32(epochs) {
		for _, b := range collect(l, epoch, 0) {
			for i, label := range b.Labels {
				counts[label]++
				if label == 2 && epoch == 0 {
					of2[string(b.Pixels[i*192:][:192])] = true
				}
			}
		}
	}
	for class := range int64(3) { // standard deviation: 26
		if n := counts[class]; n < 1000-130 || n > 1000+130 {
			t.Errorf("class %d came %d times of %d", class, n, 100*epochs)
		}
	}
	if len(of2) < 15 {
		t.Errorf("one image was augmented in %d ways", len(of2))
	}
	if first, again := collect(l, 3, 0), collect(l, 3, 5); len(again) != 5 || !slices.Equal(first[5].Labels, again[0].Labels) {
		t.Error("an epoch that goes on is another one")
	}
	if w := im.BalancedWeights(4); !slices.Equal(w, []float64{100. / 360, 100. / 36, 25, 1}) {
		t.Errorf("weights %v", w)
	}
	l.Weigh([]float64{1, 10, 100})
	var sum float64
	for _, label := range collect(l, 0, 0)[2].Labels {
		sum += []float64{1, 10, 100}[label]
	}
	if w := l.Whole(0)(2).Weight; w != sum {
		t.Errorf("a batch weighs %g, not %g", w, sum)
	}
}
