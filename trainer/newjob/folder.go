package newjob

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

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// folder is what lies in a folder, and where each file goes in an archive.
type folder struct {
	format  v1.DatasetFormat
	root    string
	files   []packed
	classes []string
	// train and test count the images of an ImageFolder.
	train, test int
	// asItIs: the trainer can read the folder without rearranging it.
	asItIs bool
	// testFraction that the trainer is to hold out; 0 if there are test images.
	testFraction float64
	// median of the shorter sides of the images in pixels; imageSize to make them, 0 if they all have one small size.
	median, imageSize int
}

// packed is a file, by its path below the root, and its name in the archive.
type packed struct{ file, name string }

// imageEndings are those of package data of the trainer, which cannot be linked here: it decodes by libjpeg.
var imageEndings = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}

// String says what was found.
func (d *folder) String() string {
	if d.format != v1.ImageFolder {
		return fmt.Sprintf("%s, %d files", d.format, len(d.files))
	}
	test := fmt.Sprintf("%d of them", d.test)
	if d.testFraction > 0 {
		test = fmt.Sprintf("%g of each class", d.testFraction)
	}
	return fmt.Sprintf("%d images of %d classes, %s to test with; median of their shorter sides: %d pixels", d.train+d.test, len(d.classes),
		test, d.median)
}

func (d *folder) stem() v1.Stem {
	if d.format != v1.ImageFolder || cmp.Or(d.imageSize, d.median) <= 64 {
		return v1.StemCIFAR
	}
	return v1.StemImageNet
}

// look finds out what lies in a folder. format tells MNIST and FashionMNIST apart, whose files have the same names.
func look(root, format string, testFraction float64) (*folder, error) {
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
		return nil, exit.Errorf(contract.ExitData, "%w", err)
	}
	if d, err := known(root, names, format); d != nil || err != nil {
		return d, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(imageEndings, strings.ToLower(path.Ext(name))) })
	if len(names) == 0 {
		return nil, exit.Errorf(contract.ExitData, "%s holds no images (%s) and no data set that is known: want a folder for each class, as %s/roses/1.jpg",
			root, strings.Join(imageEndings, " "), root)
	}
	slices.Sort(names)
	d := &folder{format: v1.ImageFolder, root: root}
	if err := d.arrange(names, testFraction); err != nil {
		return nil, err
	}
	return d, d.measure()
}

// known data sets, by the names of their files; nil if it is none.
func known(root string, names []string, format string) (*folder, error) {
	has := func(want string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.TrimSuffix(path.Base(name), ".gz") == want
		})
	}
	d := &folder{root: root, asItIs: true}
	switch {
	case has("train-images-idx3-ubyte") && has("t10k-images-idx3-ubyte"):
		if format != string(v1.MNIST) && format != string(v1.FashionMNIST) {
			return nil, exit.Errorf(contract.ExitData, "%s holds the files of MNIST or FashionMNIST, which have the same names: say which by --format", root)
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
func (d *folder) arrange(names []string, testFraction float64) error {
	byClass := map[string][]string{}
	split := slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "train/") })
	for _, name := range names {
		parts := strings.Split(name, "/")
		if split {
			if len(parts) < 3 || !slices.Contains([]string{"train", "test", "val"}, parts[0]) {
				return exit.Errorf(contract.ExitData, "%s stands beside train/: want train/<class>/ and test/<class>/ only", filepath.Join(d.root, name))
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
			return exit.Errorf(contract.ExitData, "%s is in no folder of a class: want %s", filepath.Join(d.root, name), filepath.Join(d.root, "<class>", name))
		}
		byClass[parts[0]] = append(byClass[parts[0]], name)
	}
	for class, images := range byClass {
		d.classes = append(d.classes, class)
		if split {
			continue
		}
		if len(images) < 2 {
			return exit.Errorf(contract.ExitData, "the class %s has one image: it takes at least two, to train and to test with", class)
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
	d.asItIs = split
	slices.Sort(d.classes)
	slices.SortFunc(d.files, func(a, b packed) int { return cmp.Compare(a.name, b.name) })
	switch {
	case len(d.classes) < 2:
		return exit.Errorf(contract.ExitData, "%s has one class, %s: it takes at least two", d.root, d.classes[0])
	case d.test == 0:
		d.testFraction = testFraction
	}
	return nil
}

// measured is how many images are looked at for their size.
const measured = 500

// measure looks at the sizes of some images.
func (d *folder) measure() error {
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
			return exit.Errorf(contract.ExitData, "%s is damaged, or no image: %w", file, err)
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
func (d *folder) pack(ctx context.Context, w io.Writer) error {
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
