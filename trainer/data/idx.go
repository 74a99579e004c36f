package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// idxHeader reads the header of an IDX file of bytes and returns its sizes, outermost first.
// Format: http://yann.lecun.com/exdb/mnist: 0, 0, type (8: unsigned byte), rank, then each size as big-endian uint32.
func idxHeader(r io.Reader, rank int) ([]int, error) {
	magic := make([]byte, 4)
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, err
	}
	if want := []byte{0, 0, 8, byte(rank)}; !bytes.Equal(magic, want) {
		return nil, fmt.Errorf("is not an IDX file of %d-dimensional bytes: it does not begin with % x", rank, want)
	}
	sizes := make([]uint32, rank)
	if err := binary.Read(r, binary.BigEndian, sizes); err != nil {
		return nil, err
	}
	dims := make([]int, rank)
	for i, s := range sizes {
		dims[i] = int(s)
	}
	return dims, nil
}

// idxImages reads at most limit images of h×w bytes, and returns also how many the file says it has.
func idxImages(r io.Reader, h, w, limit int) (pixels []byte, count int, err error) {
	dims, err := idxHeader(r, 3)
	if err != nil {
		return nil, 0, err
	}
	if dims[1] != h || dims[2] != w {
		return nil, 0, fmt.Errorf("holds images of %d×%d pixels, not %d×%d", dims[1], dims[2], h, w)
	}
	pixels, err = idxBody(r, dims[0], h*w, limit)
	return pixels, dims[0], err
}

// idxLabels reads at most limit labels, and returns also how many the file says it has.
func idxLabels(r io.Reader, limit int) (labels []byte, count int, err error) {
	dims, err := idxHeader(r, 1)
	if err != nil {
		return nil, 0, err
	}
	labels, err = idxBody(r, dims[0], 1, limit)
	return labels, dims[0], err
}

// mostIDX is the largest content that is believed: five hundred thousand images.
const mostIDX = 500_000 * mnistSize * mnistSize

// idxBody reads the first items of count. If these are all, nothing may follow them.
func idxBody(r io.Reader, count, itemSize, limit int) ([]byte, error) {
	if count == 0 {
		return nil, fmt.Errorf("is empty")
	}
	if min(count, limit)*itemSize > mostIDX {
		return nil, fmt.Errorf("says that it holds %d items: that is no such data set", count)
	}
	data, err := readFull(r, int64(min(count, limit))*int64(itemSize))
	if err == nil && count <= limit {
		err = expectEOF(r)
	}
	return data, err
}

// readFull reads n bytes, and takes memory only as they come: n may be nonsense.
func readFull(r io.Reader, n int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(n, 64<<20)))
	got, err := b.ReadFrom(io.LimitReader(r, n))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return b.Bytes(), err
}

// expectEOF checks that r is at its end; with gzip this checks the sum as well.
func expectEOF(r io.Reader) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	if n == 0 && err == io.EOF {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("goes on after its last item")
	}
	return err
}
