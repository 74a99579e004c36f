package data

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/trainer/internal/pickle"
)

// Names that a pickle of CIFAR's Python version refers to. _codecs.encode is how Python 3 writes bytes in protocol 2.
const (
	globalReconstruct = "numpy.core.multiarray._reconstruct"
	globalArray       = "numpy.ndarray"
	globalDtype       = "numpy.dtype"
	globalEncode      = "_codecs.encode"
)

type (
	// numpyArray is one of bytes; data is nil until its state was set.
	numpyArray struct{ data []byte }
	numpyDtype struct{ name string }
)

// batchReader reads dictionaries, lists, tuples, strings, integers, and arrays of bytes by numpy.
var batchReader = &pickle.Reader{Known: knownInBatch, Call: callInBatch, Build: buildInBatch}

// cifarPickle returns data and labels of a batch.
func cifarPickle(b []byte, labelKey string) (planes []byte, labels []int64, err error) {
	v, err := batchReader.Read(b)
	if err != nil {
		return nil, nil, fmt.Errorf("is not a pickle of CIFAR: %w", err)
	}
	d, ok := v.(*pickle.Dict)
	if !ok {
		return nil, nil, errors.New("is not a pickled dictionary")
	}
	array, _ := d.Get("data").(*numpyArray)
	list, _ := d.Get(labelKey).(*pickle.List)
	if array == nil || array.data == nil || list == nil {
		return nil, nil, fmt.Errorf("is a pickle without an array of bytes %q and a list %q", "data", labelKey)
	}
	labels = make([]int64, len(list.Items))
	for i, item := range list.Items {
		if labels[i], ok = item.(int64); !ok {
			return nil, nil, fmt.Errorf("label of image %d is not a number", i)
		}
	}
	return array.data, labels, nil
}

// stable is a name as numpy before version 2 wrote it.
func stable(g pickle.Global) string {
	return strings.Replace(string(g), "numpy._core.", "numpy.core.", 1)
}

func knownInBatch(g pickle.Global) error {
	if !slices.Contains([]string{globalReconstruct, globalArray, globalDtype, globalEncode}, stable(g)) {
		return fmt.Errorf("the name %.80q does not belong in it", string(g))
	}
	return nil
}

func callInBatch(g pickle.Global, args pickle.Tuple) (any, error) {
	if stable(g) == globalReconstruct {
		return &numpyArray{}, nil
	}
	if len(args) > 0 {
		text, ok := pickle.Bytes(args[0])
		switch {
		case stable(g) == globalDtype && ok:
			return &numpyDtype{string(text)}, nil
		case stable(g) == globalEncode && ok:
			return latin1(text), nil
		}
	}
	return nil, errors.New("a call of something unknown")
}

// latin1 turns UTF-8, whose characters are bytes, into one byte for each.
func latin1(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		out = append(out, byte(r))
	}
	return out
}

// buildInBatch gives an array its content: (version, shape, dtype, Fortran order, bytes).
func buildInBatch(object, state any) error {
	array, ok := object.(*numpyArray)
	if !ok {
		return nil // of a dtype: byte order and the like, which bytes do not have
	}
	tuple, _ := state.(pickle.Tuple)
	if len(tuple) != 5 {
		return errors.New("an array of unknown form")
	}
	dtype, _ := tuple[2].(*numpyDtype)
	content, isBytes := pickle.Bytes(tuple[4])
	if dtype == nil || dtype.name != "u1" || !isBytes || tuple[3] != false {
		return errors.New("an array of something else than bytes in C order")
	}
	array.data = content
	return nil
}
