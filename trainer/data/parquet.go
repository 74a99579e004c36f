package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// mostParquet is the largest parquet file that is read; those of CIFAR have 120 MB.
const mostParquet = 2 << 30

// decodeParquet reads a file as Hugging Face writes them: a column img or image, which holds bytes (PNG) and path, and
// one of labels.
func (c *cifarFiles) decodeParquet(f *file, classes, limit int) (r records, err error) {
	defer func() {
		if e := recover(); e != nil { // the library panics on some damaged files
			err = fmt.Errorf("is a damaged parquet file: %v", e)
		}
	}()
	content, err := readAtMost(f, mostParquet)
	if err != nil {
		return r, err
	}
	pf, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return r, fmt.Errorf("is not a parquet file, or cut off: %w", err)
	}
	images, labels, err := parquetColumns(pf, c.column)
	if err != nil {
		return r, err
	}
	for _, group := range pf.RowGroups() {
		if err := r.addGroup(group.ColumnChunks()[images], group.ColumnChunks()[labels], classes, min(limit, mostRecords)); err != nil {
			return r, err
		}
	}
	if len(r.labels) == 0 {
		return r, errors.New("is empty")
	}
	return r, nil
}

// parquetColumns finds the columns of images and labels.
func parquetColumns(pf *parquet.File, label string) (images, labels int, err error) {
	images, labels = -1, -1
	columns := pf.Schema().Columns()
	for i, path := range columns {
		switch strings.Join(path, ".") {
		case "img.bytes", "image.bytes":
			images = i
		case label:
			labels = i
		}
	}
	var names []string
	for _, path := range columns {
		names = append(names, strings.Join(path, "."))
	}
	if images < 0 || labels < 0 {
		return 0, 0, fmt.Errorf("needs the columns img.bytes or image.bytes, and %s; it has %s", label, strings.Join(names, ", "))
	}
	for what, i := range map[string]int{"images": images, label: labels} {
		kind := pf.Root()
		for _, part := range columns[i] {
			kind = kind.Column(part)
		}
		want := parquet.Int64
		if i == images {
			want = parquet.ByteArray
		}
		if kind.Type().Kind() != want {
			return 0, 0, fmt.Errorf("the column of %s is of type %s, not %s", what, kind.Type().Kind(), want)
		}
	}
	return images, labels, nil
}

// addGroup appends the images of a row group, until there are limit of all. Each is decoded as it comes: a dictionary can
// make a hundred thousand rows of one large value.
func (r *records) addGroup(images, labels parquet.ColumnChunk, classes, limit int) error {
	first := len(r.labels)
	err := columnValues(labels, limit-first, func(v parquet.Value) error {
		if v.IsNull() {
			return fmt.Errorf("image %d has no label", len(r.labels))
		}
		label := v.Int64()
		r.labels = append(r.labels, label)
		return checkLabel(label, len(r.labels)-1, classes)
	})
	if err != nil {
		return err
	}
	n := first
	err = columnValues(images, limit-first, func(v parquet.Value) error {
		if v.IsNull() {
			return fmt.Errorf("image %d has no bytes", n)
		}
		if err := r.addImage(v.ByteArray()); err != nil {
			return fmt.Errorf("image %d%w", n, err)
		}
		n++
		return nil
	})
	if err == nil && n != len(r.labels) {
		err = fmt.Errorf("holds %d images, but %d labels", n-first, len(r.labels)-first)
	}
	return err
}

// mostSmallImage bounds the file of an image of 32×32 pixels: 3 KB of pixels, and what cameras write beside them.
const mostSmallImage = 64 << 10

func (r *records) addImage(content []byte) error {
	if len(content) > mostSmallImage {
		return fmt.Errorf(" has %d bytes: at most %d are read", len(content), mostSmallImage)
	}
	p, err := decodeImage(content)
	if err != nil {
		return fmt.Errorf(": %w", err)
	}
	if p.w != cifarSize || p.h != cifarSize {
		return fmt.Errorf(" has %d×%d pixels, not %d×%d", p.w, p.h, cifarSize, cifarSize)
	}
	for c := range 3 {
		for j := c; j < len(p.rgb); j += 3 {
			r.planes = append(r.planes, p.rgb[j])
		}
	}
	return nil
}

// columnValues visits at most limit values; they hold until visit returns.
func columnValues(chunk parquet.ColumnChunk, limit int, visit func(parquet.Value) error) error {
	pages := chunk.Pages()
	defer pages.Close()
	buffer := make([]parquet.Value, 256)
	for limit > 0 {
		page, err := pages.ReadPage()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for values := page.Values(); err == nil; {
			var n int
			n, err = values.ReadValues(buffer)
			for _, v := range buffer[:min(n, limit)] {
				if err := visit(v); err != nil {
					parquet.Release(page)
					return err
				}
			}
			limit -= min(n, limit)
		}
		parquet.Release(page)
		if err != io.EOF {
			return err
		}
	}
	return nil
}
