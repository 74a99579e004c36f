package data

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// cifar10 is "Learning Multiple Layers of Features from Tiny Images" (Krizhevsky, 2009). Its mean and deviation are those
// over all pixels of the 50,000 training images.
var cifar10 = format{
	classes: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
	mean:    []float32{0.4914, 0.4822, 0.4465},
	std:     []float32{0.2470, 0.2435, 0.2616},
	read:    readCIFAR10,
}

const (
	cifarSize    = 32
	cifarPlane   = cifarSize * cifarSize
	cifarRecord  = 1 + 3*cifarPlane
	cifarFolder  = "cifar-10-batches-bin/"
	cifarArchive = "cifar-10-binary.tar.gz"
	cifarFiles   = "data_batch_1.bin to data_batch_5.bin and test_batch.bin, or " + cifarArchive
)

func readCIFAR10(ctx context.Context, src *source, train bool, limit int) (Images, error) {
	names := []string{"test_batch.bin"}
	if train {
		names = []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}
	}
	records, found, err := cifarLoose(ctx, src, names, limit)
	if !found && err == nil {
		records, err = cifarTar(ctx, src, names)
	}
	if err != nil {
		return Images{}, err
	}
	n := min(limit, len(records)/cifarRecord)
	return decodeCIFAR(records[:n*cifarRecord]), nil
}

// cifarLoose reads files in turn until there are limit records. found is false if there is not even the first.
func cifarLoose(ctx context.Context, src *source, names []string, limit int) (records []byte, found bool, err error) {
	for i, name := range names {
		if len(records)/cifarRecord >= limit {
			break
		}
		f, err := src.open(ctx, cifarFiles, name, cifarFolder+name)
		if i == 0 && errors.Is(err, store.ErrNotFound) {
			return nil, false, nil
		}
		if err != nil {
			return nil, true, err
		}
		batch, err := cifarBatch(f)
		f.Close()
		if err != nil {
			return nil, true, badData(f.name, err)
		}
		records = append(records, batch...)
	}
	return records, true, nil
}

// cifarTar reads files out of the archive.
func cifarTar(ctx context.Context, src *source, names []string) ([]byte, error) {
	f, err := src.open(ctx, cifarFiles, cifarArchive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	batches := make([][]byte, len(names))
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, badData(f.name, err)
		}
		i := slices.Index(names, path.Base(h.Name))
		if i < 0 || h.Typeflag != tar.TypeReg {
			continue
		}
		if batches[i], err = cifarBatch(r); err != nil {
			return nil, badData(f.name+" "+h.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, f); err != nil { // checks the sum of gzip
		return nil, badData(f.name, err)
	}
	for i, b := range batches {
		if b == nil {
			return nil, exit.Errorf(contract.ExitData, "%s does not hold %s", f.name, names[i])
		}
	}
	return slices.Concat(batches...), nil
}

// cifarBatch reads a file of records: a label and the red, green and blue planes of 32×32 bytes.
func cifarBatch(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(r)
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, errors.New("is empty")
	case len(b)%cifarRecord != 0:
		return nil, fmt.Errorf("has %d bytes: the file is cut off, or not made of records of %d bytes", len(b), cifarRecord)
	}
	for i := 0; i < len(b); i += cifarRecord {
		if err := checkLabel(b[i], i/cifarRecord); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// decodeCIFAR turns planes into pixels (CHW to HWC).
func decodeCIFAR(records []byte) Images {
	n := len(records) / cifarRecord
	im := Images{n, cifarSize, cifarSize, 3, make([]byte, n*3*cifarPlane), make([]int64, n)}
	for i := range n {
		record := records[i*cifarRecord : (i+1)*cifarRecord]
		im.Labels[i] = int64(record[0])
		planes, out := record[1:], im.Pixels[i*3*cifarPlane:(i+1)*3*cifarPlane]
		for p := range cifarPlane {
			out[3*p], out[3*p+1], out[3*p+2] = planes[p], planes[cifarPlane+p], planes[2*cifarPlane+p]
		}
	}
	return im
}
