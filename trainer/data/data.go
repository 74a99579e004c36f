// Package data reads image data sets and serves them in batches.
//
// Pixels stay bytes in NHWC order until the network's input is made: (pixel/255 - Mean) / Std.
//
// Load finds out in what form a data set lies at its URI (source.go, files.go, and a file for each form), checks it, and
// holds it in memory. A Loader shuffles and varies the training images (augment.go).
package data

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Dataset is a data set in memory. All images have the same size.
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
}

// Images are N labelled images of one size.
type Images struct {
	N, H, W, C int
	// Pixels has the shape N×H×W×C.
	Pixels []byte
	// Labels are indices into Dataset.Classes.
	Labels []int64
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

// Batch is a part of Images. Its buffers are reused: they hold until the next batch is asked for.
type Batch struct {
	// Pixels has the shape N×H×W×C.
	Pixels []byte
	Labels []int64
	N      int
}

// Batches yields the images in order, unchanged; the last batch may be smaller. It is for evaluation.
func (im *Images) Batches(batchSize int) iter.Seq[Batch] {
	size := im.H * im.W * im.C
	return func(yield func(Batch) bool) {
		for i := 0; i < im.N; i += batchSize {
			j := min(i+batchSize, im.N)
			if !yield(Batch{im.Pixels[i*size : j*size], im.Labels[i:j], j - i}) {
				return
			}
		}
	}
}

// Sample yields batches of images drawn from seed, each image at most once and unchanged, until there are as many batches
// or no image is left. It is for measurements that must not see one class after the other, as folders list them.
func (im *Images) Sample(seed int64, batchSize, batches int) iter.Seq[Batch] {
	size := im.H * im.W * im.C
	order := permutation(seed, 0, im.N)
	order = order[:min(im.N, batchSize*batches)]
	return func(yield func(Batch) bool) {
		for indices := range slices.Chunk(order, batchSize) {
			b := Batch{make([]byte, 0, len(indices)*size), make([]int64, 0, len(indices)), len(indices)}
			for _, i := range indices {
				b.Pixels, b.Labels = append(b.Pixels, im.Pixels[i*size:(i+1)*size]...), append(b.Labels, im.Labels[i])
			}
			if !yield(b) {
				return
			}
		}
	}
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

// Load reads the data set that spec names, or makes the synthetic one from seed. open opens the store at spec.URI if
// that is a bucket or a folder. Copies of remote files are kept in cacheDir; "" keeps them only until Load returns.
//
// Errors name the field and the file. The exit code is 65 if the data is missing or wrong, 64 if the spec does not fit
// it, else that of package store.
func Load(ctx context.Context, spec v1.DatasetSpec, seed int64, open func(uri string) (store.Store, error), cacheDir string) (*Dataset, error) {
	return load(ctx, spec, seed, open, cacheDir, true)
}

func load(ctx context.Context, spec v1.DatasetSpec, seed int64, open func(uri string) (store.Store, error), cacheDir string, checkPublished bool) (d *Dataset, err error) {
	if spec.Format == v1.Synthetic {
		d = synthetic(limitOr(spec.MaxTrainImages, 10_000), limitOr(spec.MaxTestImages, 2_000), seed)
	} else if d, err = read(ctx, spec, open, cacheDir, checkPublished); err != nil {
		return nil, err
	}
	if err := d.normalise(spec); err != nil {
		return nil, err
	}
	return d, d.holdOut(spec.ValidationFraction, seed)
}

// read reads a data set from its URI.
func read(ctx context.Context, spec v1.DatasetSpec, open func(uri string) (store.Store, error), cacheDir string, checkPublished bool) (*Dataset, error) {
	f, ok := formats[spec.Format]
	if !ok {
		return nil, exit.Errorf(contract.ExitConfig, "spec.dataset.format: %q is not known", spec.Format)
	}
	if cacheDir == "" && !strings.HasPrefix(spec.URI, "file://") {
		dir, err := os.MkdirTemp("", "dataset-*")
		if err != nil {
			return nil, exit.Errorf(contract.ExitConfig, "no folder for copies of remote data: %w", err)
		}
		defer os.RemoveAll(dir)
		cacheDir = dir
	}
	s, err := newSource(spec, open, &cache{cacheDir})
	if err != nil {
		return nil, wrap("spec.dataset.uri", err)
	}
	defer s.close()
	if !checkPublished {
		s.published, s.publishedIDX = nil, nil
	}
	d := &Dataset{Name: string(spec.Format), Classes: f.classes, Mean: f.mean, Std: f.std}
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
