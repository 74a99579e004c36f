package newjob

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// photos is a folder of images of a size, by their names.
func photos(t *testing.T, side int, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "My Flowers")
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side+10))); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatLiesInAFolder(t *testing.T) {
	for name, c := range map[string]struct {
		dir, format string
		want, fails string
	}{
		"split already":   {photos(t, 40, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png"), "", "4 images of 2 classes, 2 of them", ""},
		"MNIST or not":    {photos(t, 8, "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"), "", "", "say which by --format"},
		"Fashion-MNIST":   {photos(t, 8, "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"), "FashionMNIST", "FashionMNIST, 2 files", ""},
		"CIFAR-10":        {photos(t, 8, "x/data_batch_1.bin", "x/test_batch.bin"), "", "CIFAR10, 2 files", ""},
		"CIFAR-100":       {photos(t, 8, "train.bin", "test.bin"), "", "CIFAR100, 2 files", ""},
		"nothing":         {photos(t, 8, "readme.txt"), "", "", "holds no images"},
		"no such folder":  {filepath.Join(t.TempDir(), "x"), "", "", "no such file"},
		"no classes":      {photos(t, 8, "1.png"), "", "", "1.png is in no folder of a class"},
		"one class":       {photos(t, 8, "a/1.png", "a/2.png"), "", "", "has one class, a: it takes at least two"},
		"one image":       {photos(t, 8, "a/1.png", "b/1.png", "b/2.png"), "", "", "the class a has one image"},
		"nothing to test": {photos(t, 8, "train/a/1.png", "train/b/1.png"), "", "2 images of 2 classes, 0.2 of each class to test with", ""},
		"beside train":    {photos(t, 8, "train/a/1.png", "other/b/1.png"), "", "", "stands beside train/"},
	} {
		d, err := look(c.dir, c.format, 0.2)
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: %v, want %q", name, err, c.fails)
		case c.fails == "" && (err != nil || !strings.Contains(d.String(), c.want)):
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	damaged := photos(t, 8, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
	if err := os.WriteFile(filepath.Join(damaged, "a/1.png"), []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := look(damaged, "", 0.2); err == nil || !strings.Contains(err.Error(), "1.png is damaged, or no image") {
		t.Errorf("%v", err)
	}
}
