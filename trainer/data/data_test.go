package data

import (
	"bytes"
	"context"
	"maps"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// loadAt reads a small data set, whose files are not those that were published.
func loadAt(t *testing.T, format v1.DatasetFormat, uri string, limit int32) (*Dataset, error) {
	t.Helper()
	spec := v1.DatasetSpec{Format: format, URI: uri}
	if limit > 0 {
		spec.MaxTrainImages, spec.MaxTestImages = &limit, &limit
	}
	return loadSpec(t, spec)
}

func loadSpec(t *testing.T, spec v1.DatasetSpec) (*Dataset, error) {
	t.Helper()
	d, err := load(t.Context(), spec, 0, opener(t), "")
	if shape, known := ShapeOf(spec); err == nil && known != (spec.Format != v1.ImageFolder) || err == nil && known && d.Shape() != shape {
		t.Errorf("%s: ShapeOf is %v, %t, but the images have %v", spec.Format, shape, known, d.Shape())
	}
	return d, err
}

// load reads a data set whose files are not those that were published.
func load(ctx context.Context, spec v1.DatasetSpec, seed int64, open func(string) (store.Store, error), cacheDir string) (*Dataset, error) {
	return Load(ctx, Source{DatasetSpec: spec, Seed: seed, Open: open, CacheDir: cacheDir, unpublished: true})
}

func opener(t *testing.T) func(string) (store.Store, error) {
	return func(uri string) (store.Store, error) { return store.Open(t.Context(), uri, nil) }
}

func TestMNIST(t *testing.T) {
	plain := mnistFolder()
	packed := map[string][]byte{}
	for name, content := range plain {
		packed[name+".gz"] = gzipped(content)
	}
	for name, files := range map[string]map[string][]byte{"plain": plain, "gz": packed} {
		t.Run(name, func(t *testing.T) {
			d, err := loadAt(t, v1.FashionMNIST, folder(t, files), 0)
			if err != nil {
				t.Fatal(err)
			}
			if d.Name != "FashionMNIST" || len(d.Classes) != 10 || d.Mean[0] != 0.2860 || d.Test.N != 2 {
				t.Errorf("%s, %v, %v, %d", d.Name, d.Classes, d.Mean, d.Test.N)
			}
			im := d.Train
			if diff := cmp.Diff([]int64{3, 1, 9, 0}, im.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if im.N != 4 || im.H != 32 || im.W != 32 || im.C != 1 || len(im.Pixels) != 4*32*32 {
				t.Fatalf("%d images of %d×%d×%d in %d bytes", im.N, im.H, im.W, im.C, len(im.Pixels))
			}
			for y := range 32 {
				for x := range 32 {
					want := byte(0)
					if y >= 2 && y < 30 && x >= 2 && x < 30 {
						want = byte(28*28 + (y-2)*28 + x - 2)
					}
					if got := im.Pixels[(1*32+y)*32+x]; got != want {
						t.Fatalf("pixel %d,%d of image 1 is %d, want %d", y, x, got, want)
					}
				}
			}
		})
	}
}

// The real thing, where Debian's package dataset-fashion-mnist is installed.
func TestRealFashionMNIST(t *testing.T) {
	const folder = "/usr/share/datasets/fashion-mnist"
	if _, err := os.Stat(folder); err != nil {
		t.Skip("the package dataset-fashion-mnist is not installed")
	}
	d, err := Load(t.Context(), Source{DatasetSpec: v1.DatasetSpec{Format: v1.FashionMNIST, URI: "file://" + folder}, Open: opener(t)})
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.N != 60_000 || d.Test.N != 10_000 {
		t.Errorf("%d + %d images", d.Train.N, d.Test.N)
	}
	// Padding adds only zeros, so the sums are those of the 28×28 pixels.
	var sum, squares float64
	for p := range 256 {
		v, count := float64(p)/255, float64(bytes.Count(d.Train.Pixels, []byte{byte(p)}))
		sum += count * v
		squares += count * v * v
	}
	n := float64(d.Train.N * mnistSize * mnistSize)
	mean, std := sum/n, math.Sqrt(squares/n-sum/n*sum/n)
	if math.Abs(mean-float64(d.Mean[0])) > 5e-5 || math.Abs(std-float64(d.Std[0])) > 5e-5 {
		t.Errorf("mean %.5f, deviation %.5f; stated %v, %v", mean, std, d.Mean, d.Std)
	}
}

func TestCIFAR10(t *testing.T) {
	loose := cifarFolderOf()
	inFolder := map[string][]byte{}
	for name, content := range loose {
		inFolder["cifar-10-batches-bin/"+name] = content
	}
	for name, files := range map[string]map[string][]byte{
		"loose": loose, "in a folder": inFolder, "archive": {"cifar-10-binary.tar.gz": tarGz("cifar-10-batches-bin/", loose)},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := loadAt(t, v1.CIFAR10, folder(t, files), 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int64{0, 1, 1, 2, 2, 3, 3, 4, 4, 5}, d.Train.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if d.Classes[9] != "truck" || d.Test.N != 2 || d.Test.C != 3 {
				t.Errorf("%v, %d test images of %d channels", d.Classes, d.Test.N, d.Test.C)
			}
			if diff := cmp.Diff([]byte{0, 64, 128, 1, 65, 129}, d.Test.Pixels[:6]); diff != "" {
				t.Errorf("first pixels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for format, files := range map[v1.DatasetFormat]map[string][]byte{
		v1.MNIST: mnistFolder(), v1.CIFAR10: cifarFolderOf(), v1.Synthetic: nil,
	} {
		d, err := loadAt(t, format, folder(t, files), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range []Images{d.Train, d.Test} {
			if im.N != 1 || len(im.Labels) != 1 || len(im.Pixels) != im.H*im.W*im.C {
				t.Errorf("%s: %d images, %d labels, %d bytes", format, im.N, len(im.Labels), len(im.Pixels))
			}
		}
	}
	files := cifarFolderOf()
	delete(files, "data_batch_2.bin") // must not be looked for
	if _, err := loadAt(t, v1.CIFAR10, folder(t, files), 2); err != nil {
		t.Error(err)
	}
}

func TestBadDataNamesTheFile(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	gz := images + ".gz"
	whole := tarGz("cifar-10-batches-bin/", cifarFolderOf())
	for name, test := range map[string]struct {
		format  v1.DatasetFormat
		file    string
		content []byte // nil: the file is missing
		want    string
	}{
		"missing":             {v1.MNIST, images, nil, "not found: MNIST needs train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or with .gz, loose or in a tar archive; it holds t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, train-labels-idx1-ubyte"},
		"labels missing":      {v1.MNIST, labels, nil, "is missing: MNIST needs"},
		"empty file":          {v1.MNIST, images, []byte{}, "cut off"},
		"magic only":          {v1.MNIST, images, []byte{0, 0, 8, 3}, "cut off"},
		"wrong magic":         {v1.MNIST, images, []byte("<html>…"), "it does not begin with 00 00 08 03"},
		"labels as images":    {v1.MNIST, images, mnistLabels(1), "it does not begin with 00 00 08 03"},
		"cut off":             {v1.MNIST, images, mnistImages(4)[:2000], "cut off"},
		"goes on":             {v1.MNIST, images, append(mnistImages(4), 0), "goes on after its last item"},
		"other size":          {v1.MNIST, images, idxFile(make([]byte, 4*64), 4, 8, 8), "8×8 pixels, not 28×28"},
		"absurd count":        {v1.MNIST, images, idxFile(nil, 1<<32-1, 28, 28), "says that it holds 4294967295 items"},
		"no images":           {v1.MNIST, images, mnistImages(0), "is empty"},
		"counts differ":       {v1.MNIST, labels, mnistLabels(1, 2, 3), "holds 3 labels, but"},
		"label out of range":  {v1.MNIST, labels, mnistLabels(1, 2, 3, 10), "label 10 of image 3 is not one of the 10 classes"},
		"not gzip":            {v1.MNIST, gz, []byte("\x1f\x8b\x09 not gzip"), "gzip: invalid header"},
		"gzip cut off":        {v1.MNIST, gz, gzipped(mnistImages(4))[:200], "cut off"},
		"gzip garbage":        {v1.MNIST, gz, garbled(gzipped(mnistImages(4))), ""},
		"batch missing":       {v1.CIFAR10, "data_batch_3.bin", nil, "data_batch_3.bin: not found"},
		"nothing there":       {v1.CIFAR10, "data_batch_1.bin", nil, "not found: CIFAR10 needs data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, data_batch_5.bin and test_batch.bin (binary version), or data_batch_1, "},
		"batch cut off":       {v1.CIFAR10, "data_batch_1.bin", cifarRecords(1, 2)[:5000], "5000 bytes: the file is cut off"},
		"batch empty":         {v1.CIFAR10, "data_batch_1.bin", []byte{}, "is empty"},
		"batch label":         {v1.CIFAR10, "test_batch.bin", cifarRecords(1, 77), "label 77 of image 1"},
		"archive cut off":     {v1.CIFAR10, "cifar-10-binary.tar.gz", whole[:len(whole)/2], "cut off"},
		"archive not gzip":    {v1.CIFAR10, "cifar-10-binary.tar.gz", []byte("hello, this is not an archive"), "is not an archive: .tar, .tar.gz, .tar.xz, .tar.zst, .tar.bz2 or .zip: it is of no kind that is known here"},
		"archive not tar":     {v1.CIFAR10, "cifar-10-binary.tar.gz", gzipped(bytes.Repeat([]byte("x"), 2000)), "tar"},
		"archive of no files": {v1.CIFAR10, "cifar-10-binary.tar.gz", tarGz("", nil), "it holds nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			files := mnistFolder()
			if test.format == v1.CIFAR10 {
				files = cifarFolderOf()
			}
			switch test.file {
			case "cifar-10-binary.tar.gz":
				clear(files)
			case gz:
				delete(files, images)
			}
			if files[test.file] = test.content; test.content == nil {
				delete(files, test.file)
			}
			_, err := loadAt(t, test.format, folder(t, files), 0)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			file := test.file
			if exit.Code(err) != contract.ExitData || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
			if !strings.HasPrefix(err.Error(), "spec.dataset.uri: file:///") {
				t.Errorf("does not name the field: %v", err)
			}
		})
	}
}

// garbled flips a bit in the middle.
func garbled(b []byte) []byte {
	b[len(b)/2] ^= 0x10
	return b
}

func TestSynthetic(t *testing.T) {
	one, two, other := synthetic(2000, 500, 1), synthetic(2000, 500, 1), synthetic(2000, 500, 2)
	if !reflect.DeepEqual(one, two) {
		t.Error("the same seed gives other data")
	}
	if bytes.Equal(one.Train.Pixels, other.Train.Pixels) || bytes.Equal(one.Train.Pixels[:500*synthPixels], one.Test.Pixels) {
		t.Error("another seed, or the test images, are the same")
	}
	if !bytes.Equal(synthetic(100, 1, 1).Train.Pixels, one.Train.Pixels[:100*synthPixels]) {
		t.Error("fewer images are not the first ones")
	}
	count := map[int64]int{}
	for _, l := range one.Train.Labels {
		count[l]++
	}
	for class := range maps.Keys(count) {
		if count[class] < 150 || class > 9 {
			t.Errorf("class %d has %d images", class, count[class])
		}
	}
	sum := 0
	for _, p := range one.Train.Pixels {
		sum += int(p)
	}
	if mean := float64(sum) / float64(len(one.Train.Pixels)) / 255; mean < 0.4 || mean > 0.6 {
		t.Errorf("mean %f, stated as 0.5", mean)
	}
}

// A classifier by the nearest mean image does better than chance, but far from well.
func TestSyntheticIsNeitherTrivialNorNoise(t *testing.T) {
	d := synthetic(1000, 200, 0)
	var means [10][synthPixels]float64
	count := [10]float64{}
	for i, l := range d.Train.Labels {
		count[l]++
		for j, p := range d.Train.Pixels[i*synthPixels : (i+1)*synthPixels] {
			means[l][j] += float64(p)
		}
	}
	right := 0
	for i, l := range d.Test.Labels {
		best, nearest := 0.0, int64(-1)
		for k := range means {
			distance := 0.0
			for j, p := range d.Test.Pixels[i*synthPixels : (i+1)*synthPixels] {
				diff := float64(p) - means[k][j]/count[k]
				distance += diff * diff
			}
			if nearest < 0 || distance < best {
				best, nearest = distance, int64(k)
			}
		}
		if nearest == l {
			right++
		}
	}
	accuracy := float64(right) / float64(d.Test.N)
	t.Logf("accuracy of the nearest mean: %.2f", accuracy)
	if accuracy < 0.2 || accuracy > 0.7 {
		t.Errorf("accuracy of the nearest mean: %.2f", accuracy)
	}
}

func TestErrorsOfTheStoreKeepTheirCode(t *testing.T) {
	failing := func(string) (store.Store, error) { return nil, exit.Errorf(contract.ExitConfig, "no such bucket") }
	_, err := Load(t.Context(), Source{DatasetSpec: v1.DatasetSpec{Format: v1.MNIST, URI: "s3://b"}, Open: failing})
	if exit.Code(err) != contract.ExitConfig || err.Error() != "spec.dataset.uri: no such bucket" {
		t.Errorf("got %v", err)
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(mnistImages(1), 1)
	f.Add(mnistLabels(1, 2), 5)
	f.Add(idxFile(nil, 1<<32-1, 28, 28), 1<<40)
	f.Fuzz(func(_ *testing.T, data []byte, limit int) {
		limit = max(limit, 1)
		idxImages(bytes.NewReader(data), mnistSize, mnistSize, limit)
		idxLabels(bytes.NewReader(data), limit)
	})
}
