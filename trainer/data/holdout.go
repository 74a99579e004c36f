package data

import (
	"math"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// Streams of the generator for the draws of validation and test images, apart from those of the epochs.
const validationStream, testStream = -16, -17

// holdOut makes the test and the validation images of training images, where the spec says so.
func (d *Dataset) holdOut(spec v1.DatasetSpec, seed int64) (err error) {
	im := &d.Train
	if d.Test.N == 0 && spec.TestFraction > 0 {
		if d.Test, err = d.draw(spec.TestFraction, seed, testStream, "testFraction", "testing"); err != nil {
			return err
		}
	}
	if d.Validation.N > 0 { // the data set has its own
		return nil
	}
	d.Validation = Images{H: im.H, W: im.W, C: im.C}
	if spec.ValidationFraction > 0 {
		d.Validation, err = d.draw(spec.ValidationFraction, seed, validationStream, "validationFraction", "validation")
	}
	return err
}

// draw takes a fraction of each class, to the nearest image, out of Train. The images are drawn by the seed and class
// alone, and keep their order. The error, if that is no image at all, has the exit code 64.
func (d *Dataset) draw(fraction float64, seed int64, from int32, field, what string) (Images, error) {
	im := &d.Train
	members := make([][]int, len(d.Classes))
	for i, label := range im.Labels {
		members[label] = append(members[label], i)
	}
	held := make([]bool, im.N)
	n := 0
	for class, indices := range members {
		take := int(math.Round(fraction * float64(len(indices))))
		g := stream(seed, from, class)
		for k := range take { // the first steps of a shuffle
			j := k + below(&g, len(indices)-k)
			indices[k], indices[j] = indices[j], indices[k]
			held[indices[k]] = true
		}
		n += take
	}
	if n == 0 || n == im.N {
		return Images{}, exit.Errorf(contract.ExitConfig, "spec.dataset.%s: %g of %d training images leaves %d for %s and %d for training: both need some",
			field, fraction, im.N, n, what, im.N-n)
	}
	return im.split(held, n), nil
}

// split takes the n held images out of im, without a copy of the others.
func (im *Images) split(held []bool, n int) Images {
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
	return v
}
