package data

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// imageFolder is torchvision.datasets.ImageFolder for training and test. Images are RGB. Mean and deviation are those of
// ImageNet.
var imageFolder = format{
	mean: []float32{0.485, 0.456, 0.406},
	std:  []float32{0.229, 0.224, 0.225},
	known: [][]string{
		{"train-00000-of-00001.parquet", "test-00000-of-00001.parquet"},
		{"data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"},
	},
	read: readImageFolder,
}

const imageFolderFiles = "train/<class>/<name> with images, and the same below test/ or val/, loose or in one archive; " +
	"or lists train.csv and test.csv; or shards train-0.tar and test-0.tar of a WebDataset; or train-*.parquet and " +
	"test-*.parquet of Hugging Face"

// readExtensions are the names of the images that are read: torchvision's, and .gif. Of what kind they are their content
// tells.
var readExtensions = []string{".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}

// otherExtensions are images too, but not read: an error, so that none is left out unnoticed.
var otherExtensions = []string{".jfif", ".jpe", ".jif", ".jfi", ".dib", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".jp2",
	".j2k", ".jxl", ".tga", ".psd", ".apng"}

// readNames says readExtensions in a message.
var readNames = strings.Replace(strings.Join(readExtensions, ", "), ", .gif", " or .gif", 1)

// item is an image in the folder.
type item struct {
	file  string
	class string
	label int64
	// listed items come of a list; the others are in the folder of their class.
	listed bool
}

// parts are the images of an ImageFolder, sorted by class and name.
type parts struct{ train, validation, test []item }

func readImageFolder(ctx context.Context, s *source, fs files, d *Dataset, most limits) error {
	p, err := s.parts(ctx, fs)
	if err != nil {
		return err
	}
	if names := shardNames(fs); len(p.train) == 0 && len(p.test) == 0 && names != nil {
		if fs, p, err = s.shardParts(ctx, fs, names); err != nil {
			return err
		}
	}
	var names []string // of classes that have numbers
	if tables := parquetNames(fs.names()); len(p.train) == 0 && len(p.test) == 0 && len(tables["train"]) > 0 {
		if fs, p, names, err = s.parquetParts(ctx, fs, tables); err != nil {
			return err
		}
	}
	if len(p.train) == 0 && len(p.test) == 0 {
		archives := slices.DeleteFunc(slices.Clone(fs.names()), func(n string) bool { return !isArchive(n) })
		if len(archives) != 1 {
			return s.nothingFits(fs, imageFolderFiles)
		}
		if fs, err = s.openArchive(ctx, archives[0]); err != nil {
			return err
		}
		if p, err = s.parts(ctx, fs); err != nil {
			return err
		}
	}
	if len(p.train) == 0 && len(p.test) == 0 {
		return s.nothingFits(fs, imageFolderFiles)
	}
	if len(p.validation) > 0 && s.spec.ValidationFraction > 0 {
		return exit.Errorf(contract.ExitConfig,
			"spec.dataset.validationFraction is %g, but %s holds validation images of its own in val/, beside those in test/: "+
				"leave validationFraction out, or take val/ away",
			s.spec.ValidationFraction, fs.uri(""))
	}
	if len(p.test) > 0 && s.spec.TestFraction > 0 {
		return exit.Errorf(contract.ExitConfig,
			"spec.dataset.testFraction is %g, but %s holds test images of its own: leave testFraction out, or take them away",
			s.spec.TestFraction, fs.uri(""))
	}
	if d.Classes, err = classesOf(fs, p, s.spec.TestFraction > 0, names); err != nil {
		return err
	}
	p = p.number(d.Classes, most)
	for i, class := range d.Classes {
		d.Classes[i] = nameOf(class, names)
	}
	if l, ok := fs.(*loose); ok && s.cache != nil {
		if fs, err = l.pack(ctx, slices.Concat(p.train, p.validation, p.test)); err != nil {
			return err
		}
	}
	r := &imageReader{files: fs, upright: s.spec.ExifOrientation == v1.ExifApply, resize: d.Resize, count: len(p.train) + len(p.validation) + len(p.test)}
	if s.spec.ImageSize != nil {
		r.size = int(*s.spec.ImageSize)
	} else if s.whole {
		return exit.Errorf(contract.ExitConfig, "spec.dataset.imageSize: is required with spec.training.augmentation.randomResizedCrop")
	}
	return r.readParts(ctx, d, p, s.whole)
}

// parts are those that lists name, or those in folders.
func (s *source) parts(ctx context.Context, fs files) (parts, error) {
	if p, listed, err := listedParts(ctx, fs); listed || err != nil {
		return p, err
	}
	return imageParts(fs)
}

// imageParts finds the images below train/, val/ and test/. Without test/ those of val/ are the test images. Folders
// around all of them are looked through. A class without images is an error, as in torchvision.
func imageParts(fs files) (p parts, err error) {
	all := fs.contents()
	prefix := commonFolder(all.files)
	found := map[string][]item{}
	for _, part := range []string{"train", "val", "test"} {
		folder := prefix + part + "/"
		if err := all.checkBroken(folder, fs.uri); err != nil {
			return p, err
		}
		if found[part], err = imagesIn(fs, folder); err != nil {
			return p, err
		}
	}
	p = parts{found["train"], found["val"], found["test"]}
	if len(p.test) == 0 {
		p.validation, p.test = nil, p.validation
	}
	return p, nil
}

// imagesIn returns the images of one part, sorted by class and name.
func imagesIn(fs files, folder string) (items []item, err error) {
	all := fs.contents()
	passed := map[string]string{} // a file of each class that is no image
	astray := ""
	for _, name := range within(all.files, folder) {
		class, _, ok := strings.Cut(name[len(folder):], "/")
		extension := strings.ToLower(path.Ext(name))
		switch {
		case slices.Contains(readExtensions, extension) && ok:
			items = append(items, item{file: name, class: class})
		case slices.Contains(readExtensions, extension):
			astray = name
		case ok && slices.Contains(otherExtensions, extension):
			return nil, exit.Errorf(contract.ExitData,
				"%s: only images named %s are read: convert or rename it, or take it away", fs.uri(name), readNames)
		case ok:
			passed[class] = name
		}
	}
	if astray != "" && len(items) == 0 {
		return nil, exit.Errorf(contract.ExitData, "%s: lies in no folder of a class: images belong into %s<class>/",
			fs.uri(astray), folder)
	}
	if astray != "" {
		slog.Warn("images outside of the folders of the classes are passed over", "file", fs.uri(astray))
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.file, b.file))
	})
	return items, checkClasses(fs, folder, items, passed)
}

// checkClasses refuses classes without images, and names that could not be kept.
func checkClasses(fs files, folder string, items []item, passed map[string]string) error {
	classes := classNames(items)
	for _, class := range classes {
		if !utf8.ValidString(class) {
			return exit.Errorf(contract.ExitData, "%s: the name of class %q is not UTF-8: rename its folder", fs.uri(""), class)
		}
	}
	var empty []string
	for name := range fs.contents().folders {
		if class, ok := strings.CutPrefix(name, folder); ok && !strings.Contains(class, "/") {
			if _, ok := slices.BinarySearch(classes, class); !ok {
				empty = append(empty, class)
			}
		}
	}
	if len(empty) == 0 {
		return nil
	}
	class := slices.Min(empty)
	holds := "it is empty"
	if other, ok := passed[class]; ok {
		holds = "it holds " + strings.TrimPrefix(other, folder+class+"/")
	}
	return exit.Errorf(contract.ExitData,
		"%s: class %q has no images in %s%s/ (%s): %s; put some there, or take the folder away",
		fs.uri(""), class, folder, class, readNames, holds)
}

// commonFolder returns the folder, with a slash, in which train lies: "" or the ones around all others.
func commonFolder(names []string) string {
	prefix := ""
	for {
		folders := map[string]bool{}
		for _, n := range names {
			if top, _, ok := strings.Cut(strings.TrimPrefix(n, prefix), "/"); ok && strings.HasPrefix(n, prefix) {
				folders[top] = true
			}
		}
		if folders["train"] {
			return prefix
		}
		if len(folders) != 1 {
			return ""
		}
		for only := range folders {
			prefix += only + "/"
		}
	}
}

// nameOf is the name of a class, which is a number where there are names.
func nameOf(class string, names []string) string {
	if names == nil {
		return class
	}
	n, _ := strconv.Atoi(class)
	return names[n]
}

// classesOf returns the classes of the training images, and checks that the other parts have the same ones. Errors name
// them as nameOf does.
func classesOf(fs files, p parts, ownSplit bool, classLabels []string) ([]string, error) {
	classes := classNames(p.train)
	switch {
	case len(p.train) == 0:
		return nil, exit.Errorf(contract.ExitData,
			"%s: there are no training images: they belong into train/<class>/", fs.uri(""))
	case len(p.test) == 0 && !ownSplit:
		return nil, exit.Errorf(contract.ExitData, "%s: there are no test images: they belong into test/<class>/ or val/<class>/; "+
			"or set spec.dataset.testFraction", fs.uri(""))
	case len(classes) < 2:
		return nil, exit.Errorf(contract.ExitData,
			"%s: there is only one class, %q: a classifier needs two", fs.uri(""), nameOf(classes[0], classLabels))
	}
	for _, other := range []struct {
		what  string
		items []item
	}{{"test", p.test}, {"validation", p.validation}} {
		names := classNames(other.items)
		if class, ok := missing(names, classes); ok && len(names) > 0 {
			return nil, exit.Errorf(contract.ExitData,
				"%s: class %q has training images, but no %s images", fs.uri(""), nameOf(class, classLabels), other.what)
		}
		if class, ok := missing(classes, names); ok {
			return nil, exit.Errorf(contract.ExitData,
				"%s: class %q has %s images, but no training images", fs.uri(""), nameOf(class, classLabels), other.what)
		}
	}
	return classes, nil
}

// classNames returns the classes of items, in their order: by name, or by value if all are whole numbers.
func classNames(items []item) []string {
	if len(items) == 0 {
		return nil
	}
	seen := map[string]bool{}
	for _, it := range items {
		seen[it.class] = true
	}
	names := slices.Sorted(maps.Keys(seen))
	numbers := map[string]int{}
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			return names
		}
		numbers[name] = n
	}
	if !items[0].listed { // as in torchvision, the names of folders are texts
		return names
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(numbers[a], numbers[b]), cmp.Compare(a, b)) })
	return names
}

// number gives all images their labels, and keeps as many as are wanted: of val/ as of test/.
func (p parts) number(classes []string, most limits) parts {
	labels := map[string]int64{}
	for label, class := range classes {
		labels[class] = int64(label)
	}
	for _, items := range [][]item{p.train, p.validation, p.test} {
		for i := range items {
			items[i].label = labels[items[i].class]
		}
	}
	return parts{firstOf(p.train, most.train), firstOf(p.validation, most.test), firstOf(p.test, most.test)}
}

// firstOf returns at most limit items: the first of each class, then the second of each, and so on. Else the first
// thousand of many images would be of one class.
func firstOf(items []item, limit int) []item {
	if limit >= len(items) {
		return items
	}
	rank := make(map[string]int, len(items)) // within the class
	count := map[int64]int{}
	for _, it := range items {
		rank[it.file] = count[it.label]
		count[it.label]++
	}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(rank[a.file], rank[b.file]) })
	return items[:limit]
}
