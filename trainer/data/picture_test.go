package data

import (
	"bytes"
	"image"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// TestPicture: a picture of a data set's own size comes back as it is, with the padding that its images have.
func TestPicture(t *testing.T) {
	small := noise(1, 28, 28, 1)
	grey := &image.Gray{Pix: small.Pixels, Stride: 28, Rect: image.Rect(0, 0, 28, 28)}
	padded := pad(small.Pixels, 1, 28, 28, 2)
	if !bytes.Equal(Picture(grey, v1.FashionMNIST, 0, 32, 32, 1), padded) {
		t.Error("an image of FashionMNIST was changed")
	}
	if got := Picture(grey, v1.CIFAR10, 0, 28, 28, 3); len(got) != 28*28*3 || got[0] != small.Pixels[0] || got[2] != small.Pixels[0] {
		t.Error("a grey picture did not become RGB")
	}
	// The network saw grey images in three equal channels: not the colours of the picture.
	colours := image.NewNRGBA(image.Rect(0, 0, 28, 28))
	for i := range colours.Pix {
		colours.Pix[i] = byte(i*i) | byte(i&3/3*255)
	}
	one, three := Picture(colours, v1.MNIST, 0, 32, 32, 1), Picture(colours, v1.MNIST, 0, 32, 32, 3)
	set := Dataset{Train: Images{N: 1, H: 32, W: 32, C: 1, Pixels: one}, Mean: []float32{0}, Std: []float32{1}}
	if err := set.ToChannels(3); err != nil || !bytes.Equal(three, set.Train.Pixels) {
		t.Errorf("an image for MNIST with three channels has %d bytes, not those of a training image: %v", len(three), err)
	}
	if got := Picture(colours, v1.CIFAR10, 0, 28, 28, 1); !bytes.Equal(got, toGrey(toRGB(colours).rgb)) {
		t.Error("an image for CIFAR10 with one channel is not grey")
	}
	wide := image.NewGray(image.Rect(0, 0, 100, 20))
	if got := Picture(wide, v1.ImageFolder, 0, 12, 16, 3); len(got) != 12*16*3 {
		t.Errorf("%d bytes for 12×16 pixels", len(got))
	}
}

func TestGreyAgainstPillow(t *testing.T) {
	im := picture(31, 57, 3)
	c := im.peer("convert", "grey", peerCase{"channels": 1})
	if count, most := differences(toGrey(im.Pixels), torchvision(t, []peerCase{c})["grey"]); count > 0 {
		t.Errorf("%d bytes differ, by up to %d", count, most)
	}
}
