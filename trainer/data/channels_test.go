package data

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

func TestToChannelsAgainstTorchvision(t *testing.T) {
	var cases []peerCase
	got := map[string][]byte{}
	for name, im := range subjects() {
		for _, channels := range []int{1, 3} {
			if channels == 3 && im.C == 3 {
				continue // torchvision would make it grey
			}
			id := fmt.Sprint(name, channels)
			cases = append(cases, im.peer("convert", id, peerCase{"channels": channels}))
			d := &Dataset{Train: *im, Mean: make([]float32, im.C), Std: make([]float32, im.C)}
			if err := d.ToChannels(channels); err != nil || d.Train.C != channels {
				t.Fatal(err)
			}
			got[id] = d.Train.Pixels
		}
	}
	for id, want := range torchvision(t, cases) {
		if !bytes.Equal(got[id], want) {
			t.Errorf("%s differs", id)
		}
	}
}

func TestToChannelsConvertsAllOfIt(t *testing.T) {
	d := synthetic(100, 5, 0)
	d.Mean, d.Std = []float32{0.2, 0.4, 0.6}, []float32{0.1, 0.2, 0.3}
	if err := d.holdOut(v1.DatasetSpec{ValidationFraction: 0.2}, 0); err != nil {
		t.Fatal(err)
	}
	before := *d
	if err := d.ToChannels(3); err != nil || !reflect.DeepEqual(before, *d) {
		t.Errorf("RGB to RGB changes something: %v", err)
	}
	if err := d.ToChannels(1); err != nil {
		t.Fatal(err)
	}
	for _, im := range []Images{d.Train, d.Validation, d.Test} {
		if im.C != 1 || len(im.Pixels) != im.N*32*32 || im.N == 0 {
			t.Errorf("%d images of %d channels in %d bytes", im.N, im.C, len(im.Pixels))
		}
	}
	close := func(got []float32, want float64) bool { return len(got) == 1 && math.Abs(float64(got[0])-want) < 1e-4 }
	if !close(d.Mean, 0.299*0.2+0.587*0.4+0.114*0.6) || !close(d.Std, 0.299*0.1+0.587*0.2+0.114*0.3) {
		t.Errorf("mean %v, std %v", d.Mean, d.Std)
	}
	if err := d.ToChannels(3); err != nil || len(d.Mean) != 3 || d.Mean[2] != d.Mean[0] || d.Train.C != 3 {
		t.Errorf("mean %v, %v", d.Mean, err)
	}
	if err := d.ToChannels(2); exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(err.Error(), "spec.model.inputChannels: ") {
		t.Errorf("got %v", err)
	}
}

// The mean of grey images is the luminance of the mean colour; the deviation is that of fully correlated channels.
func TestConvertedStatisticsFitTheImages(t *testing.T) {
	im := picture(64, 64, 3)
	stats := func(pixels []byte, c, k int) (mean, std float64) {
		for i := k; i < len(pixels); i += c {
			mean += float64(pixels[i]) / 255
			std += float64(pixels[i]) / 255 * float64(pixels[i]) / 255
		}
		n := float64(len(pixels) / c)
		mean /= n
		return mean, math.Sqrt(std/n - mean*mean)
	}
	d := &Dataset{Train: *im}
	for k := range 3 {
		mean, std := stats(im.Pixels, 3, k)
		d.Mean, d.Std = append(d.Mean, float32(mean)), append(d.Std, float32(std))
	}
	if err := d.ToChannels(1); err != nil {
		t.Fatal(err)
	}
	mean, std := stats(d.Train.Pixels, 1, 0)
	if math.Abs(mean-float64(d.Mean[0])) > 0.001 || float64(d.Std[0]) < std-0.001 || float64(d.Std[0]) > 1.15*std {
		t.Errorf("mean %.4f and deviation %.4f, stated as %.4f and %.4f", mean, std, d.Mean[0], d.Std[0])
	}
}

func TestMeanAndStdOfTheSpec(t *testing.T) {
	n := int32(4)
	spec := v1.DatasetSpec{Format: v1.Synthetic, MaxTrainImages: &n, MaxTestImages: &n, Mean: []float64{0.1, 0.2, 0.3}, Std: []float64{1, 0.5, 0.25}}
	d, err := loadSpec(t, spec)
	if err != nil || !slices.Equal(d.Mean, []float32{0.1, 0.2, 0.3}) || !slices.Equal(d.Std, []float32{1, 0.5, 0.25}) {
		t.Errorf("%v, %v", d, err)
	}
	spec.Mean, spec.Std = []float64{0.5}, []float64{0.5}
	_, err = loadSpec(t, spec)
	if exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.mean: has 1 numbers, but the images have 3 channels") {
		t.Errorf("got %v", err)
	}
}

func TestHoldOut(t *testing.T) {
	const fraction = 0.1
	whole, d, again := synthetic(1000, 10, 0), synthetic(1000, 10, 0), synthetic(1000, 10, 0)
	if err := d.holdOut(v1.DatasetSpec{ValidationFraction: fraction}, 7); err != nil {
		t.Fatal(err)
	}
	if err := again.holdOut(v1.DatasetSpec{ValidationFraction: fraction}, 7); err != nil || !reflect.DeepEqual(d, again) {
		t.Errorf("the same seed holds out other images: %v", err)
	}
	count := func(im Images) map[int64]int {
		m := map[int64]int{}
		for _, l := range im.Labels {
			m[l]++
		}
		return m
	}
	all := count(whole.Train)
	for class, n := range count(d.Validation) {
		if want := int(math.Round(fraction * float64(all[class]))); n != want {
			t.Errorf("%d images of class %d, want %d of %d", n, class, want, all[class])
		}
	}
	left := map[string]bool{} // each image is in one part
	for _, im := range []Images{d.Train, d.Validation} {
		if im.N != len(im.Labels) || im.N*synthPixels != len(im.Pixels) {
			t.Fatalf("%d images, %d labels, %d bytes", im.N, len(im.Labels), len(im.Pixels))
		}
		for i := range im.N {
			left[fmt.Sprint(im.Labels[i])+string(im.Pixels[i*synthPixels:(i+1)*synthPixels])] = true
		}
	}
	for i := range whole.Train.N {
		delete(left, fmt.Sprint(whole.Train.Labels[i])+string(whole.Train.Pixels[i*synthPixels:(i+1)*synthPixels]))
	}
	if d.Train.N+d.Validation.N != 1000 || len(left) > 0 {
		t.Errorf("%d + %d images, %d of them new", d.Train.N, d.Validation.N, len(left))
	}
	other := synthetic(1000, 10, 0)
	if other.holdOut(v1.DatasetSpec{ValidationFraction: fraction}, 8); reflect.DeepEqual(other.Validation, d.Validation) {
		t.Error("another seed holds out the same images")
	}
	if none := synthetic(10, 1, 0); none.holdOut(v1.DatasetSpec{ValidationFraction: 0}, 7) != nil || none.Validation.N != 0 || none.Train.N != 10 {
		t.Error("a fraction of 0 holds out something")
	}
	n := int32(20)
	_, err := loadSpec(t, v1.DatasetSpec{Format: v1.Synthetic, MaxTrainImages: &n, ValidationFraction: 0.01})
	if exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.validationFraction: 0.01 of 20 training images leaves 0") {
		t.Errorf("got %v", err)
	}
}
