package data

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// imageFolder is torchvision.datasets.ImageFolder for training and test. Images are RGB. Mean and deviation are those of
// ImageNet.
var imageFolder = format{
	mean: []float32{0.485, 0.456, 0.406},
	std:  []float32{0.229, 0.224, 0.225},
	read: readImageFolder,
}

const imageFolderFiles = "train/<class>/<name>.png, .jpg or .jpeg, and the same below test/ or val/, loose or in one tar or tar.gz archive"

// item is an image in the folder.
type item struct {
	file  string
	class string
	label int64
}

func readImageFolder(ctx context.Context, s *source, fs files, d *Dataset, most limits) error {
	train, test, err := imageParts(fs)
	if err != nil {
		return err
	}
	if len(train) == 0 && len(test) == 0 {
		archives := slices.DeleteFunc(slices.Clone(fs.names()), func(n string) bool { return !isArchive(n) })
		if len(archives) != 1 {
			return s.nothingFits(fs, imageFolderFiles)
		}
		if fs, err = s.openArchive(ctx, archives[0]); err != nil {
			return err
		}
		if train, test, err = imageParts(fs); err != nil {
			return err
		}
	}
	if len(train) == 0 && len(test) == 0 {
		return s.nothingFits(fs, imageFolderFiles)
	}
	if d.Classes, err = classesOf(fs, train, test); err != nil {
		return err
	}
	number(train, d.Classes)
	number(test, d.Classes)
	train, test = firstOf(train, most.train), firstOf(test, most.test)
	if l, ok := fs.(*loose); ok && s.cache != nil {
		if fs, err = l.pack(ctx, slices.Concat(train, test)); err != nil {
			return err
		}
	}
	r := &imageReader{files: fs}
	if s.spec.ImageSize != nil {
		r.size = int(*s.spec.ImageSize)
	}
	if d.Train, err = r.read(ctx, train); err != nil {
		return err
	}
	d.Test, err = r.read(ctx, test)
	return err
}

// imageParts sorts the images of train and test (or else val) by class and name. Folders around all of them are looked
// through.
func imageParts(fs files) (train, test []item, err error) {
	parts := map[string][]item{}
	prefix := commonFolder(fs.names())
	for _, name := range fs.names() {
		elements := strings.Split(strings.TrimPrefix(name, prefix), "/")
		if len(elements) < 3 || hidden(name) || !slices.Contains([]string{"train", "test", "val"}, elements[0]) {
			continue
		}
		switch strings.ToLower(path.Ext(name)) {
		case ".png", ".jpg", ".jpeg":
			parts[elements[0]] = append(parts[elements[0]], item{file: name, class: elements[1]})
		case ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic":
			return nil, nil, exit.Errorf(contract.ExitData, "%s: only PNG and JPEG images are read: convert it, or take it away", fs.uri(name))
		}
	}
	for _, items := range parts {
		slices.SortFunc(items, func(a, b item) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.file, b.file)) })
	}
	test = parts["test"]
	if len(test) == 0 {
		test = parts["val"]
	}
	return parts["train"], test, nil
}

// commonFolder returns the folder, with a slash, in which train lies: "" or the ones around all others.
func commonFolder(names []string) string {
	prefix := ""
	for {
		folders := map[string]bool{}
		for _, n := range names {
			if top, _, ok := strings.Cut(strings.TrimPrefix(n, prefix), "/"); ok && strings.HasPrefix(n, prefix) && !hidden(n) {
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

// classesOf returns the classes of the training images, and checks that the test images have the same ones.
func classesOf(fs files, train, test []item) ([]string, error) {
	classes, tested := classNames(train), classNames(test)
	switch {
	case len(train) == 0:
		return nil, exit.Errorf(contract.ExitData, "%s: there are no training images: they belong into train/<class>/", fs.uri(""))
	case len(test) == 0:
		return nil, exit.Errorf(contract.ExitData, "%s: there are no test images: they belong into test/<class>/ or val/<class>/", fs.uri(""))
	case len(classes) < 2:
		return nil, exit.Errorf(contract.ExitData, "%s: there is only one class, %q: a classifier needs two", fs.uri(""), classes[0])
	}
	if class, ok := missing(tested, classes); ok {
		return nil, exit.Errorf(contract.ExitData, "%s: class %q has training images, but no test images", fs.uri(""), class)
	}
	if class, ok := missing(classes, tested); ok {
		return nil, exit.Errorf(contract.ExitData, "%s: class %q has test images, but no training images", fs.uri(""), class)
	}
	return classes, nil
}

// classNames returns the classes of sorted items.
func classNames(items []item) (names []string) {
	for _, it := range items {
		if len(names) == 0 || names[len(names)-1] != it.class {
			names = append(names, it.class)
		}
	}
	return names
}

func number(items []item, classes []string) {
	for i := range items {
		label, _ := slices.BinarySearch(classes, items[i].class)
		items[i].label = int64(label)
	}
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
