// Package data reads image data sets and serves them in batches.
//
// Pixels stay bytes in NHWC order until the network's input is made: (pixel/255 - Mean) / Std.
package data

import (
	"context"
	"iter"
	"math"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// Dataset is a data set in memory.
type Dataset struct {
	Name    string
	Classes []string
	Train   Images
	Test    Images
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

// format says how to read a data set, and what is known about it.
type format struct {
	classes   []string
	mean, std []float32
	// read reads at most limit training (or test) images.
	read func(ctx context.Context, src *source, train bool, limit int) (Images, error)
}

// classCount is the number of classes of each of the formats.
const classCount = 10

var formats = map[v1.DatasetFormat]format{
	v1.MNIST:        mnist,
	v1.FashionMNIST: fashionMNIST,
	v1.CIFAR10:      cifar10,
}

// Load reads the data set that spec names, or makes the synthetic one from seed. open opens the store at spec.URI.
// Files from a bucket are kept in cacheDir; "" keeps nothing.
//
// Errors name the file or key. The exit code is 65 if the data is missing or wrong, else that of package store.
func Load(ctx context.Context, spec v1.DatasetSpec, seed int64, open func(uri string) (store.Store, error), cacheDir string) (*Dataset, error) {
	if spec.Format == v1.Synthetic {
		return synthetic(limitOr(spec.MaxTrainImages, 10_000), limitOr(spec.MaxTestImages, 2_000), seed), nil
	}
	f, ok := formats[spec.Format]
	if !ok {
		return nil, exit.Errorf(contract.ExitConfig, "dataset.format: %q is not known", spec.Format)
	}
	st, err := open(spec.URI)
	if err != nil {
		return nil, wrap("dataset.uri", err)
	}
	src := &source{store: st, format: spec.Format, cacheDir: cacheDir}
	d := &Dataset{Name: string(spec.Format), Classes: f.classes, Mean: f.mean, Std: f.std}
	if d.Train, err = f.read(ctx, src, true, limitOr(spec.MaxTrainImages, math.MaxInt)); err != nil {
		return nil, wrap("dataset.uri", err)
	}
	if d.Test, err = f.read(ctx, src, false, limitOr(spec.MaxTestImages, math.MaxInt)); err != nil {
		return nil, wrap("dataset.uri", err)
	}
	return d, nil
}

func limitOr(limit *int32, fallback int) int {
	if limit == nil {
		return fallback
	}
	return int(*limit)
}
