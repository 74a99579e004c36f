package data

import (
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// normalise takes mean and deviation from the spec, if they are there.
func (d *Dataset) normalise(spec v1.DatasetSpec) error {
	for _, field := range []struct {
		name  string
		given []float64
		own   *[]float32
	}{{"mean", spec.Mean, &d.Mean}, {"std", spec.Std, &d.Std}} {
		if len(field.given) == 0 {
			continue
		}
		if len(field.given) != d.Train.C {
			return exit.Errorf(contract.ExitConfig, "spec.dataset.%s: has %d numbers, but the images have %d channels: give one for each", field.name, len(field.given), d.Train.C)
		}
		*field.own = nil
		for _, v := range field.given {
			*field.own = append(*field.own, float32(v))
		}
	}
	return nil
}

// Weights of red, green and blue in the luminance of ITU-R BT.601, in 1/2¹⁶, as Pillow has them.
const lumaR, lumaG, lumaB = 19595, 38470, 7471

// ToChannels makes all images grey (channels = 1) or RGB (channels = 3), and does nothing if they are so. It is
// torchvision's Grayscale on Pillow images. Mean and Std are converted too: repeated for RGB. For grey, the mean is the
// luminance of the mean colour; the deviation is the same sum of the three deviations: exact where the channels are
// fully correlated, otherwise somewhat too large (natural images: a few percent). Give spec.dataset.mean and std for a
// data set that was grey from the start to have it exact.
//
// The error, for any other number of channels, has the exit code 64.
func (d *Dataset) ToChannels(channels int) error {
	if channels != 1 && channels != 3 {
		return exit.Errorf(contract.ExitConfig, "spec.model.inputChannels: %d is not 1 or 3", channels)
	}
	if d.Train.C == channels {
		return nil
	}
	for _, im := range []*Images{&d.Train, &d.Validation, &d.Test} {
		im.toChannels(channels)
	}
	for _, stats := range []*[]float32{&d.Mean, &d.Std} {
		if v := *stats; channels == 3 {
			*stats = slices.Repeat(v, 3)
		} else {
			*stats = []float32{(lumaR*v[0] + lumaG*v[1] + lumaB*v[2]) / (1 << 16)}
		}
	}
	return nil
}

func (im *Images) toChannels(channels int) {
	if im.encoded != nil { // of an ImageFolder, whose images have three
		im.C = channels
		return
	}
	n := im.N * im.H * im.W
	out := make([]byte, n*channels)
	if channels == 3 {
		for i, v := range im.Pixels {
			out[3*i], out[3*i+1], out[3*i+2] = v, v, v
		}
	} else {
		grey(out, im.Pixels)
	}
	im.Pixels, im.C = out, channels
}

// grey is Pillow's convert("L"): the luma of ITU-R 601-2.
func grey(out, rgb []byte) {
	for i := range out {
		p := rgb[3*i : 3*i+3 : 3*i+3]
		out[i] = byte((lumaR*uint(p[0]) + lumaG*uint(p[1]) + lumaB*uint(p[2]) + 1<<15) >> 16)
	}
}
