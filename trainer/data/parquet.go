package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
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
		pngs, err := columnValues(group.ColumnChunks()[images], limit-len(r.labels))
		if err != nil {
			return r, err
		}
		numbers, err := columnValues(group.ColumnChunks()[labels], limit-len(r.labels))
		if err != nil {
			return r, err
		}
		if len(pngs) != len(numbers) {
			return r, fmt.Errorf("holds %d images, but %d labels", len(pngs), len(numbers))
		}
		if err := r.add(pngs, numbers, classes); err != nil {
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

// columnValues reads at most limit values.
func columnValues(chunk parquet.ColumnChunk, limit int) (all []parquet.Value, err error) {
	pages := chunk.Pages()
	defer pages.Close()
	buffer := make([]parquet.Value, 256)
	for len(all) < limit {
		page, err := pages.ReadPage()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		for values := page.Values(); err == nil; {
			var n int
			n, err = values.ReadValues(buffer)
			for _, v := range buffer[:n] {
				all = append(all, v.Clone())
			}
		}
		parquet.Release(page)
		if err != io.EOF {
			return nil, err
		}
	}
	return slices.Clip(all[:min(limit, len(all))]), nil
}

// add decodes images and appends them.
func (r *records) add(pngs, numbers []parquet.Value, classes int) error {
	for k, v := range pngs {
		i := len(r.labels)
		if v.IsNull() || numbers[k].IsNull() {
			return fmt.Errorf("image %d has no bytes or no label", i)
		}
		label := numbers[k].Int64()
		if err := checkLabel(label, i, classes); err != nil {
			return err
		}
		p, err := decodeImage(v.ByteArray())
		if err != nil {
			return fmt.Errorf("image %d: %w", i, err)
		}
		if p.w != cifarSize || p.h != cifarSize {
			return fmt.Errorf("image %d has %d×%d pixels, not %d×%d", i, p.w, p.h, cifarSize, cifarSize)
		}
		for c := range 3 {
			for j := c; j < len(p.rgb); j += 3 {
				r.planes = append(r.planes, p.rgb[j])
			}
		}
		r.labels = append(r.labels, label)
	}
	return nil
}
