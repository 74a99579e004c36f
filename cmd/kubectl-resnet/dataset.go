package main

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // for their sizes
	_ "image/jpeg"
	_ "image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// dataset is what lies in a folder, and where each file goes in the archive.
type dataset struct {
	format  v1.DatasetFormat
	root    string
	files   []packed
	classes []string
	// train and test count the images of an ImageFolder.
	train, test int
	// median of the shorter sides of the images in pixels; imageSize to make them, 0 if they all have one small size.
	median, imageSize int
}

// packed is a file, by its path below the root, and its name in the archive.
type packed struct{ file, name string }

// imageEndings are those of package data of the trainer, which a static program cannot link: it decodes by libjpeg.
var imageEndings = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}

// String says what was found.
func (d *dataset) String() string {
	if d.format != v1.ImageFolder {
		return fmt.Sprintf("%s, %d files", d.format, len(d.files))
	}
	return fmt.Sprintf("%d images of %d classes, %d of them to test with; median of their shorter sides: %d pixels", d.train+d.test,
		len(d.classes), d.test, d.median)
}

func (d *dataset) stem() v1.Stem {
	if d.format != v1.ImageFolder || cmp.Or(d.imageSize, d.median) <= 64 {
		return v1.StemCIFAR
	}
	return v1.StemImageNet
}

// lookAt finds out what lies in a folder. format tells MNIST and FashionMNIST apart, whose files have the same names.
func lookAt(root, format string, testFraction float64) (*dataset, error) {
	var names []string
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file != root && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type().IsRegular():
			name, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if d, err := known(root, names, format); d != nil || err != nil {
		return d, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(imageEndings, strings.ToLower(path.Ext(name))) })
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no images (%s) and no data set that is known: want a folder for each class, as %s/roses/1.jpg",
			root, strings.Join(imageEndings, " "), root)
	}
	slices.Sort(names)
	d := &dataset{format: v1.ImageFolder, root: root}
	if err := d.arrange(names, testFraction); err != nil {
		return nil, err
	}
	return d, d.measure()
}

// known data sets, by the names of their files; nil if it is none.
func known(root string, names []string, format string) (*dataset, error) {
	has := func(want string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.TrimSuffix(path.Base(name), ".gz") == want
		})
	}
	d := &dataset{root: root}
	switch {
	case has("train-images-idx3-ubyte") && has("t10k-images-idx3-ubyte"):
		if format != string(v1.MNIST) && format != string(v1.FashionMNIST) {
			return nil, fmt.Errorf("%s holds the files of MNIST or FashionMNIST, which have the same names: say which by --format", root)
		}
		d.format = v1.DatasetFormat(format)
	case has("data_batch_1.bin"), has("data_batch_1"):
		d.format = v1.CIFAR10
	case has("train.bin") && has("test.bin"):
		d.format = v1.CIFAR100
	default:
		return nil, nil
	}
	for _, name := range names {
		d.files = append(d.files, packed{name, name})
	}
	return d, nil
}

// arrange images into train/<class>/ and test/<class>/. Those that are split already stay as they are.
func (d *dataset) arrange(names []string, testFraction float64) error {
	byClass := map[string][]string{}
	split := slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "train/") })
	for _, name := range names {
		parts := strings.Split(name, "/")
		if split {
			if len(parts) < 3 || !slices.Contains([]string{"train", "test", "val"}, parts[0]) {
				return fmt.Errorf("%s stands beside train/: want train/<class>/ and test/<class>/ only", filepath.Join(d.root, name))
			}
			d.files = append(d.files, packed{name, name})
			if parts[0] == "train" {
				d.train++
				byClass[parts[1]] = append(byClass[parts[1]], name)
			} else {
				d.test++
			}
			continue
		}
		if len(parts) < 2 {
			return fmt.Errorf("%s is in no folder of a class: want %s", filepath.Join(d.root, name), filepath.Join(d.root, "<class>", name))
		}
		byClass[parts[0]] = append(byClass[parts[0]], name)
	}
	for class, images := range byClass {
		d.classes = append(d.classes, class)
		if split {
			continue
		}
		if len(images) < 2 {
			return fmt.Errorf("the class %s has one image: it takes at least two, to train and to test with", class)
		}
		tests := min(len(images)-1, max(1, int(math.Round(testFraction*float64(len(images))))))
		for i, name := range images { // evenly over the names, which may be those of a series
			part := "train/"
			if i*tests/len(images) != (i+1)*tests/len(images) {
				part = "test/"
				d.test++
			} else {
				d.train++
			}
			d.files = append(d.files, packed{name, part + name})
		}
	}
	slices.Sort(d.classes)
	slices.SortFunc(d.files, func(a, b packed) int { return cmp.Compare(a.name, b.name) })
	switch {
	case len(d.classes) < 2:
		return fmt.Errorf("%s has one class, %s: it takes at least two", d.root, d.classes[0])
	case d.test == 0:
		return fmt.Errorf("%s has train/ but neither test/ nor val/ with images: add test/<class>/", d.root)
	}
	return nil
}

// measured is how many images are looked at for their size.
const measured = 500

// measure looks at the sizes of some images.
func (d *dataset) measure() error {
	var sides []int
	same, first := true, image.Config{}
	for i := 0; i < len(d.files); i += max(1, len(d.files)/measured) {
		file := filepath.Join(d.root, filepath.FromSlash(d.files[i].file))
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		config, _, err := image.DecodeConfig(f)
		f.Close()
		if errors.Is(err, image.ErrFormat) && slices.Contains([]string{".ppm", ".pgm"}, strings.ToLower(path.Ext(file))) {
			continue // read by the trainer only
		}
		if err != nil {
			return fmt.Errorf("%s is damaged, or no image: %w", file, err)
		}
		if len(sides) == 0 {
			first = config
		}
		same = same && config.Width == first.Width && config.Height == first.Height
		sides = append(sides, min(config.Width, config.Height))
	}
	if len(sides) == 0 {
		return nil
	}
	slices.Sort(sides)
	d.median = sides[len(sides)/2]
	complete := len(d.files) <= measured // else another size may be among the rest
	switch {
	case same && complete && first.Width == first.Height && d.median <= 64:
	case d.median < 48:
		d.imageSize = 32
	case d.median < 112:
		d.imageSize = 64
	case d.median < 192:
		d.imageSize = 128
	default:
		d.imageSize = 224
	}
	return nil
}

// pack writes the archive. The same files make the same bytes.
func (d *dataset) pack(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	for _, f := range d.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := packFile(t, filepath.Join(d.root, filepath.FromSlash(f.file)), f.name); err != nil {
			return err
		}
	}
	return t.Close()
}

func packFile(t *tar.Writer, file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Size: info.Size(), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, info.Size())
	return err
}
