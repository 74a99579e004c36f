package data

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// The mean and deviation of MNIST and FashionMNIST are the usual ones: over all pixels of the 60,000 training images at
// their own size of 28×28. The two pixels of padding on each side do not enter them. They have the value 0 before the
// normalisation, like the background: torchvision's Compose([Pad(2), ToTensor(), Normalize(mean, std)]).

// mnist is "Gradient-based learning applied to document recognition" (LeCun et al., 1998).
var mnist = format{
	size:    mnistPadded,
	classes: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
	mean:    []float32{0.1307},
	std:     []float32{0.3081},
	known:   mnistKnown,
	read:    readMNIST,
}

// fashionMNIST is github.com/zalandoresearch/fashion-mnist (Xiao et al., 2017).
var fashionMNIST = format{
	size:    mnistPadded,
	classes: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
	mean:    []float32{0.2860},
	std:     []float32{0.3530},
	known:   mnistKnown,
	read:    readMNIST,
}

const (
	mnistSize    = 28
	mnistPadding = 2
	mnistPadded  = mnistSize + 2*mnistPadding
	mnistFiles   = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or with .gz, loose or in a tar archive"
)

var (
	mnistNames = []string{"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}
	mnistKnown = [][]string{withSuffix(mnistNames, ".gz"), mnistNames}
)

func withSuffix(names []string, suffix string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = n + suffix
	}
	return all
}

// readMNIST reads two pairs of IDX files and pads the images to 32×32×1.
func readMNIST(ctx context.Context, s *source, fs files, d *Dataset, most limits) error {
	found := make([]string, len(mnistNames))
	for i, name := range mnistNames {
		full, ok := find(fs.names(), name, name+".gz")
		if !ok && i == 0 {
			return s.nothingFits(fs, mnistFiles)
		}
		if !ok {
			return exit.Errorf(contract.ExitData, "%s: %s is missing: %s needs %s", fs.uri(""), name, s.spec.Format, mnistFiles)
		}
		found[i] = full
	}
	var parts [4]idxPart
	err := fs.read(ctx, found, func(i int, f *file) (bool, error) {
		limit := most.train
		if i >= 2 {
			limit = most.test
		}
		var err error
		parts[i], err = s.readIDX(f, found[i], i%2 == 0, limit)
		return true, err
	})
	if err != nil {
		return err
	}
	for i, im := range []*Images{&d.Train, &d.Test} {
		images, labels := parts[2*i], parts[2*i+1]
		if labels.count != images.count {
			return exit.Errorf(contract.ExitData, "%s holds %d labels, but %s holds %d images", fs.uri(found[2*i+1]), labels.count, fs.uri(found[2*i]), images.count)
		}
		*im, err = toImages(images.bytes, labels.bytes, len(d.Classes))
		if err != nil {
			return badData(fs.uri(found[2*i+1]), err)
		}
	}
	return nil
}

// idxPart is what was read of an IDX file, and how many items the file has.
type idxPart struct {
	bytes []byte
	count int
}

// readIDX reads the first items of a file of images or labels, and checks the sum of the whole.
func (s *source) readIDX(f *file, name string, images bool, limit int) (p idxPart, err error) {
	unpacked, _, err := unpack(f)
	if err != nil {
		return p, err
	}
	defer unpacked.Close()
	var r io.Reader = unpacked
	base := strings.TrimSuffix(name[strings.LastIndex(name, "/")+1:], ".gz")
	want, known := s.publishedIDX[base]
	if _, listed := s.listedSum(name); listed {
		known = false
	}
	sum := publishedMD5(want)
	if known {
		r = io.TeeReader(r, sum)
	}
	if images {
		p.bytes, p.count, err = idxImages(r, mnistSize, mnistSize, limit)
	} else {
		p.bytes, p.count, err = idxLabels(r, limit)
	}
	if err != nil || !known {
		return p, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // what is beyond the limit
		return p, err
	}
	return p, sum.check("unpacked")
}

// toImages pads and labels images.
func toImages(pixels, rawLabels []byte, classes int) (Images, error) {
	labels, err := toLabels(rawLabels, classes)
	return Images{len(labels), mnistPadded, mnistPadded, 1, pad(pixels, len(labels), mnistSize, mnistSize, mnistPadding), labels, nil}, err
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
func checkLabel(label int64, image, classes int) error {
	if label < 0 || label >= int64(classes) {
		return fmt.Errorf("label %d of image %d is not one of the %d classes", label, image, classes)
	}
	return nil
}

// toLabels checks that each label is the index of a class.
func toLabels(raw []byte, classes int) ([]int64, error) {
	labels := make([]int64, len(raw))
	for i, l := range raw {
		labels[i] = int64(l)
		if err := checkLabel(labels[i], i, classes); err != nil {
			return nil, err
		}
	}
	return labels, nil
}
