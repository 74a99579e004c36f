package data

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// parquetPart finds the part of a data set in the name of a Parquet file, as Hugging Face writes it:
// data/train-00000-of-00003.parquet, or default/train/0000.parquet.
var parquetPart = regexp.MustCompile(`(?:^|[-_.])(train|validation|val|test)(?:[-_.].*)?\.parquet$`)

// parquetNames returns the Parquet files of each part: train, val and test.
func parquetNames(names []string) map[string][]string {
	found := map[string][]string{}
	for _, name := range names {
		part := ""
		if m := parquetPart.FindStringSubmatch(path.Base(name)); m != nil {
			part = m[1]
		} else if strings.HasSuffix(name, ".parquet") {
			part = path.Base(path.Dir(name))
		}
		if part == "validation" {
			part = "val"
		}
		if slices.Contains([]string{"train", "val", "test"}, part) {
			found[part] = append(found[part], name)
		}
	}
	for _, files := range found {
		slices.Sort(files)
	}
	return found
}

// parquetTables are the Parquet files of a data set, whose images are copied into a tar file, in which they have numbers.
type parquetTables struct {
	files  []string
	rows   []int    // of each file
	labels []string // of all rows
	// classes are the names of the labels, if the files tell (datasets.ClassLabel).
	classes []string
	version strings.Builder
	size    int64
}

// parquetParts reads the labels of Parquet files and copies their images. The classes of the items are numbers where the
// files name their classes: those are returned.
func (s *source) parquetParts(ctx context.Context, fs files, names map[string][]string) (files, parts, []string, error) {
	t := &parquetTables{files: slices.Concat(names["train"], names["val"], names["test"])}
	if _, ok := fs.(*loose); !ok {
		return nil, parts{}, nil, exit.Errorf(contract.ExitData, "%s: Parquet files in an archive are not read: unpack it", fs.uri(""))
	}
	if err := fs.read(ctx, t.files, func(_ int, f *file) (bool, error) { return true, withoutPanic(func() error { return t.readLabels(f) }) }); err != nil {
		return nil, parts{}, nil, err
	}
	row := func(i int) string {
		for k, n := range t.rows {
			if i < n {
				return fmt.Sprintf("%s row %d", fs.uri(t.files[k]), i)
			}
			i -= n
		}
		return fs.uri("")
	}
	all, err := s.numbered(ctx, fs.uri("")+" images", "unpacking", t.version.String(), t.size, len(t.labels), row,
		func(add func(i int, content []byte) error) error {
			next := 0
			return fs.read(ctx, t.files, func(k int, f *file) (bool, error) {
				begin := next
				err := withoutPanic(func() error {
					return eachImage(f, func(content []byte) error { next++; return add(next-1, content) })
				})
				if err == nil && next-begin != t.rows[k] {
					err = fmt.Errorf("holds %d images, but %d labels", next-begin, t.rows[k])
				}
				return true, err
			})
		})
	if err != nil {
		return nil, parts{}, nil, err
	}
	var p parts
	table, next := 0, 0
	for _, part := range []struct {
		name string
		to   *[]item
	}{{"train", &p.train}, {"val", &p.validation}, {"test", &p.test}} {
		for range names[part.name] {
			for range t.rows[table] {
				*part.to = append(*part.to, item{file: strconv.Itoa(next), class: t.labels[next], listed: true})
				next++
			}
			table++
		}
	}
	if len(p.test) == 0 {
		p.validation, p.test = nil, p.validation
	}
	return all, p, t.classes, nil
}

// withoutPanic makes a panic, which the library answers some damaged files with, an error.
func withoutPanic(f func() error) (err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("is a damaged parquet file: %v", e)
		}
	}()
	return f()
}

// openParquet opens a file of this machine, or its copy here.
func openParquet(f *file) (*parquet.File, os.FileInfo, error) {
	local, ok := f.Reader.(*os.File)
	if !ok {
		return nil, nil, errors.New("is no file of its own")
	}
	info, err := local.Stat()
	if err != nil {
		return nil, nil, err
	}
	pf, err := parquet.OpenFile(local, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, nil, fmt.Errorf("is not a parquet file, or cut off: %w", err)
	}
	return pf, info, nil
}

func (t *parquetTables) readLabels(f *file) error {
	pf, info, err := openParquet(f)
	if err != nil {
		return err
	}
	fmt.Fprintln(&t.version, f.name, stamp(info))
	t.size += info.Size()
	column, err := parquetColumn(pf, "label", []string{"label", "labels", "class", "category"}, parquet.Int64, parquet.Int32, parquet.ByteArray)
	if err != nil {
		return err
	}
	name := pf.Schema().Columns()[column][0]
	classes := classLabels(pf, name)
	switch {
	case t.rows == nil:
		t.classes = classes
	case !slices.Equal(classes, t.classes):
		return fmt.Errorf("its column %s has other classes than that of the first file", name)
	}
	first := len(t.labels)
	for _, group := range pf.RowGroups() {
		err := columnValues(group.ColumnChunks()[column], mostRows-len(t.labels), func(v parquet.Value) error {
			label, err := classOf(v, classes)
			if err != nil {
				return fmt.Errorf("row %d: %w", len(t.labels)-first, err)
			}
			t.labels = append(t.labels, label)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if t.rows = append(t.rows, len(t.labels)-first); len(t.labels) == first {
		return errors.New("is empty")
	}
	return nil
}

// mostRows of all files are read: as many images as a job can have.
const mostRows = 1 << 30

// classOf is the class that a value of the column of labels means.
func classOf(v parquet.Value, classes []string) (string, error) {
	if v.IsNull() {
		return "", errors.New("has no label")
	}
	var number int64
	switch v.Kind() {
	case parquet.ByteArray:
		class := string(v.ByteArray())
		if class == "" || strings.ContainsFunc(class, contract.Unprintable) {
			return "", fmt.Errorf("the label %.100q is no class", class)
		}
		return class, nil
	case parquet.Int32:
		number = int64(v.Int32())
	default:
		number = v.Int64()
	}
	switch {
	case number == -1:
		return "", errors.New("has the label -1, with which labels are kept secret: take this part away, and set spec.dataset.testFraction if it was the only one for testing")
	case number < 0, classes != nil && number >= int64(len(classes)):
		return "", fmt.Errorf("has the label %d, but there are %d classes", number, len(classes))
	}
	return strconv.FormatInt(number, 10), nil
}

// classLabels are the names of the classes of a column, as datasets.Features tells them in the metadata of a file; nil if
// it does not.
func classLabels(pf *parquet.File, column string) []string {
	text, ok := pf.Lookup("huggingface")
	if !ok {
		return nil
	}
	var metadata struct {
		Info struct {
			Features map[string]struct {
				Names []string `json:"names"`
			} `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(text), &metadata) != nil {
		return nil
	}
	names := metadata.Info.Features[column].Names
	if slices.ContainsFunc(names, func(n string) bool { return n == "" || strings.ContainsFunc(n, contract.Unprintable) }) {
		return nil
	}
	return names
}

// eachImage visits the images of a file, in the order of the rows.
func eachImage(f *file, visit func(content []byte) error) error {
	pf, info, err := openParquet(f)
	if err != nil {
		return err
	}
	column, err := parquetColumn(pf, "image", []string{"image.bytes", "img.bytes"}, parquet.ByteArray)
	if err != nil {
		return err
	}
	left, row := bounded(nil, info.Size()).left, 0
	for _, group := range pf.RowGroups() {
		err := columnValues(group.ColumnChunks()[column], mostRows, func(v parquet.Value) error {
			content := v.ByteArray()
			left -= int64(len(content)) // a dictionary can make a hundred thousand rows of one large value
			switch {
			case v.IsNull():
				return fmt.Errorf("row %d has no image in it, perhaps only its path: load the images into the file (datasets.Image)", row)
			case len(content) > mostImageBytes:
				return fmt.Errorf("row %d: the image has %d bytes: at most %d are read", row, len(content), mostImageBytes)
			case left < 0:
				return errTooLarge
			}
			row++
			return visit(content)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parquetColumn finds the first column of a name that there is, and of one of the kinds.
func parquetColumn(pf *parquet.File, what string, names []string, kinds ...parquet.Kind) (int, error) {
	columns := pf.Schema().Columns()
	var have []string
	for _, path := range columns {
		have = append(have, strings.Join(path, "."))
	}
	for _, name := range names {
		i := slices.Index(have, name)
		if i < 0 {
			continue
		}
		leaf := pf.Root()
		for _, part := range columns[i] {
			leaf = leaf.Column(part)
		}
		if kind := leaf.Type().Kind(); !slices.Contains(kinds, kind) || leaf.Repeated() {
			return 0, fmt.Errorf("the column %s of the %ss is of type %s, not %s", name, what, kind, kinds[0])
		}
		return i, nil
	}
	return 0, fmt.Errorf("has no column of %ss: %s; it has %s", what, strings.Join(names, " or "), strings.Join(have, ", "))
}
