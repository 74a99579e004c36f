package data

import (
	"context"
	"fmt"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// The mean and deviation of MNIST and FashionMNIST are the usual ones: over all pixels of the 60,000 training images at
// their own size of 28×28. The two pixels of padding on each side do not enter them. They have the value 0 before the
// normalisation, like the background: torchvision's Compose([Pad(2), ToTensor(), Normalize(mean, std)]).

// mnist is "Gradient-based learning applied to document recognition" (LeCun et al., 1998).
var mnist = format{
	classes: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
	mean:    []float32{0.1307},
	std:     []float32{0.3081},
	read:    readMNIST,
}

// fashionMNIST is github.com/zalandoresearch/fashion-mnist (Xiao et al., 2017).
var fashionMNIST = format{
	classes: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
	mean:    []float32{0.2860},
	std:     []float32{0.3530},
	read:    readMNIST,
}

const (
	mnistSize    = 28
	mnistPadding = 2
	mnistFiles   = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or with .gz"
)

// readMNIST reads a pair of IDX files and pads the images to 32×32×1.
func readMNIST(ctx context.Context, src *source, train bool, limit int) (Images, error) {
	prefix := "t10k"
	if train {
		prefix = "train"
	}
	images, err := src.open(ctx, mnistFiles, prefix+"-images-idx3-ubyte", prefix+"-images-idx3-ubyte.gz")
	if err != nil {
		return Images{}, err
	}
	defer images.Close()
	pixels, count, err := idxImages(images, mnistSize, mnistSize, limit)
	if err != nil {
		return Images{}, badData(images.name, err)
	}
	labels, err := src.open(ctx, mnistFiles, prefix+"-labels-idx1-ubyte", prefix+"-labels-idx1-ubyte.gz")
	if err != nil {
		return Images{}, err
	}
	defer labels.Close()
	raw, labelCount, err := idxLabels(labels, limit)
	if err != nil {
		return Images{}, badData(labels.name, err)
	}
	if labelCount != count {
		return Images{}, exit.Errorf(contract.ExitData, "%s holds %d labels, but %s holds %d images", labels.name, labelCount, images.name, count)
	}
	ls, err := toLabels(raw)
	if err != nil {
		return Images{}, badData(labels.name, err)
	}
	const padded = mnistSize + 2*mnistPadding
	return Images{len(ls), padded, padded, 1, pad(pixels, len(ls), mnistSize, mnistSize, mnistPadding), ls}, nil
}

// pad surrounds n grey images of h×w with p zeros on each side.
func pad(pixels []byte, n, h, w, p int) []byte {
	H, W := h+2*p, w+2*p
	out := make([]byte, n*H*W)
	for i := range n {
		for y := range h {
			copy(out[(i*H+y+p)*W+p:], pixels[(i*h+y)*w:(i*h+y+1)*w])
		}
	}
	return out
}

// checkLabel says what is wrong with a label that is not the index of a class.
func checkLabel(label byte, image int) error {
	if label >= classCount {
		return fmt.Errorf("label %d of image %d is not one of the %d classes", label, image, classCount)
	}
	return nil
}

// toLabels checks that each label is the index of a class.
func toLabels(raw []byte) ([]int64, error) {
	labels := make([]int64, len(raw))
	for i, l := range raw {
		if err := checkLabel(l, i); err != nil {
			return nil, err
		}
		labels[i] = int64(l)
	}
	return labels, nil
}
