// Package data reads image data sets and serves them in batches.
//
// Pixels stay bytes in NHWC order until the network's input is made: (pixel/255 - Mean) / Std.
//
// Load finds out in what form a data set lies at its URI (source.go, files.go, and a file for each form), checks it, and
// holds it in memory; or, where it is too large, what it needs to find each image (encoded.go). A Loader shuffles and varies
// the training images (augment.go).
package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Dataset is a data set. All images have the same size.
type Dataset struct {
	Name    string
	Classes []string
	Train   Images
	// Validation images are held out of Train (DatasetSpec.ValidationFraction), or those that an ImageFolder has in val/
	// beside test/. Its N is 0 if there are none.
	Validation Images
	Test       Images
	// Mean and Std of the training pixels, scaled to [0, 1], for each channel.
	Mean, Std []float32
	// Resize is how long the shorter side of a picture becomes before its centre is cut out; 0: as long as covers that.
	Resize int
}

// Shape is the size of the images of a data set, and the number of its classes.
type Shape struct{ H, W, C, Classes int }

// Shape of d's images.
func (d *Dataset) Shape() Shape { return Shape{d.Train.H, d.Train.W, d.Train.C, len(d.Classes)} }

// ShapeOf returns the shape that the data set will have, if its format alone tells.
func ShapeOf(spec v1.DatasetSpec) (s Shape, known bool) {
	if spec.Format == v1.Synthetic {
		return Shape{synthSize, synthSize, 3, synthClasses}, true
	}
	f := formats[spec.Format]
	return Shape{f.size, f.size, len(f.mean), len(f.classes)}, f.size > 0
}

// limits are how many images of each part to use at most.
type limits struct{ train, test int }

// format says how to read a data set, and what is known about it.
type format struct {
	size      int // height and width of all images; 0 if they differ from data set to data set
	classes   []string
	mean, std []float32
	// known are the groups of file names to look for on a web server.
	known [][]string
	// read fills Train and Test, and Classes where they are not known before.
	read func(ctx context.Context, s *source, fs files, d *Dataset, most limits) error
}

var formats = map[v1.DatasetFormat]format{
	v1.MNIST:        mnist,
	v1.FashionMNIST: fashionMNIST,
	v1.CIFAR10:      cifar10,
	v1.CIFAR100:     cifar100,
	v1.ImageFolder:  imageFolder,
}

// Source is what Load reads.
type Source struct {
	v1.DatasetSpec
	Seed int64
	// Whole: training images are cut out of their pictures at random (AugmentationSpec.RandomResizedCrop), so that these
	// are kept as they are.
	Whole bool
	// Open opens the store at the URI if that is a bucket or a folder.
	Open func(uri string) (store.Store, error)
	// CacheDir is for copies of remote files, and of packed ones that stay in use; "" keeps none for another run.
	CacheDir string

	unpublished bool // for tests: files need not be those that the authors published
}

// Load reads a data set, or makes the synthetic one from the seed.
//
// Errors name the field and the file. The exit code is 65 if the data is missing or wrong, 64 if the spec does not fit
// it, else that of package store.
func Load(ctx context.Context, from Source) (d *Dataset, err error) {
	spec, seed := from.DatasetSpec, from.Seed
	if spec.Format == v1.Synthetic {
		d = synthetic(limitOr(spec.MaxTrainImages, 10_000), limitOr(spec.MaxTestImages, 2_000), seed)
	} else if d, err = read(ctx, from); err != nil {
		return nil, err
	}
	if err := d.normalise(spec); err != nil {
		return nil, err
	}
	return d, d.holdOut(spec, seed)
}

// read reads a data set from its URI.
func read(ctx context.Context, from Source) (*Dataset, error) {
	spec := from.DatasetSpec
	f, ok := formats[spec.Format]
	if !ok {
		return nil, exit.Errorf(contract.ExitConfig, "spec.dataset.format: %q is not known", spec.Format)
	}
	copies := &cache{dir: from.CacheDir}
	defer copies.close()
	s, err := newSource(spec, from.Open, copies)
	if err != nil {
		return nil, wrap("spec.dataset.uri", err)
	}
	defer s.close()
	s.whole = from.Whole
	if from.unpublished {
		s.published, s.publishedIDX = nil, nil
	}
	d := &Dataset{Name: string(spec.Format), Classes: f.classes, Mean: f.mean, Std: f.std}
	if spec.ResizeSize != nil {
		d.Resize = int(*spec.ResizeSize)
	}
	fs, err := s.files(ctx, f.known)
	if err == nil {
		err = f.read(ctx, s, fs, d, limits{limitOr(spec.MaxTrainImages, math.MaxInt), limitOr(spec.MaxTestImages, math.MaxInt)})
	}
	if errors.Is(err, store.ErrNotFound) && exit.Code(err) == contract.ExitUnexpected {
		err = exit.Errorf(contract.ExitData, "%w", err)
	}
	if err != nil {
		return nil, inField("spec.dataset.uri", err)
	}
	return d, nil
}

// inField puts the field before an error that does not begin with one.
func inField(field string, err error) error {
	if strings.HasPrefix(err.Error(), "spec.") {
		return err
	}
	return fmt.Errorf("%s: %w", field, err)
}

func limitOr(limit *int32, fallback int) int {
	if limit == nil {
		return fallback
	}
	return int(*limit)
}
