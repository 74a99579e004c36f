package data

import (
	"math"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// holdOutStream is the generator's stream for the draw of validation images, apart from those of the epochs.
const holdOutStream = -16

// holdOut moves a fraction of each class, to the nearest image, from Train to Validation. The images are drawn by the
// seed and class alone, and keep their order. The error, if that is no image at all, has the exit code 64.
func (d *Dataset) holdOut(fraction float64, seed int64) error {
	im := &d.Train
	if d.Validation.N > 0 { // the data set has its own
		return nil
	}
	d.Validation = Images{H: im.H, W: im.W, C: im.C}
	if fraction == 0 {
		return nil
	}
	members := make([][]int, len(d.Classes))
	for i, label := range im.Labels {
		members[label] = append(members[label], i)
	}
	held := make([]bool, im.N)
	n := 0
	for class, indices := range members {
		take := int(math.Round(fraction * float64(len(indices))))
		g := stream(seed, holdOutStream, class)
		for k := range take { // the first steps of a shuffle
			j := k + below(&g, len(indices)-k)
			indices[k], indices[j] = indices[j], indices[k]
			held[indices[k]] = true
		}
		n += take
	}
	if n == 0 || n == im.N {
		return exit.Errorf(contract.ExitConfig, "spec.dataset.validationFraction: %g of %d training images leaves %d for validation and %d for training: both need some",
			fraction, im.N, n, im.N-n)
	}
	d.split(held, n)
	return nil
}

// split moves the n held images to Validation, without a copy of the others.
func (d *Dataset) split(held []bool, n int) {
	im := &d.Train
	size := im.H * im.W * im.C
	v := Images{N: n, H: im.H, W: im.W, C: im.C, Labels: make([]int64, 0, n)}
	var out, in []int
	for i, h := range held {
		if h {
			v.Labels = append(v.Labels, im.Labels[i])
			out = append(out, i)
			continue
		}
		im.Labels[len(in)] = im.Labels[i]
		in = append(in, i)
	}
	if im.encoded != nil {
		v.encoded, im.encoded = im.encoded.some(out), im.encoded.some(in)
	} else {
		v.Pixels = make([]byte, 0, n*size)
		for _, i := range out {
			v.Pixels = append(v.Pixels, im.Pixels[i*size:(i+1)*size]...)
		}
		for to, i := range in {
			copy(im.Pixels[to*size:], im.Pixels[i*size:(i+1)*size])
		}
		im.Pixels = slices.Clip(im.Pixels[:len(in)*size])
	}
	im.N, im.Labels = len(in), im.Labels[:len(in)]
	d.Validation = v
}
