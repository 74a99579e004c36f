package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// shade is a PNG of one colour.
func shade(t testing.TB, v byte, h, w int) []byte {
	return pngOf(t, Images{N: 1, H: h, W: w, C: 3, Pixels: bytes.Repeat([]byte{v, v + 1, v + 2}, h*w)}, 0)
}

// imageFolderOf has two training images of cats and three of dogs, and a test image of each.
func imageFolderOf(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"train/dog/b.png": shade(t, 20, 6, 8), "train/dog/a.PNG": shade(t, 10, 6, 8), "train/dog/more/c.png": shade(t, 30, 6, 8),
		"train/cat/1.png": shade(t, 40, 6, 8), "train/cat/2.png": shade(t, 50, 6, 8),
		"test/cat/x.png": shade(t, 60, 6, 8), "test/dog/y.png": shade(t, 70, 6, 8),
		"README.md": []byte("not an image"), "train/labels.csv": nil, "train/cat/._1.png": []byte("of macOS"), "train/cat/.DS_Store": nil,
	}
}

func renamed(files map[string][]byte, from, to string) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		if strings.HasPrefix(name, from) {
			name = to + strings.TrimPrefix(name, from)
		}
		out[name] = content
	}
	return out
}

func reds(im Images) (values []byte) {
	for i := range im.N {
		values = append(values, im.Pixels[i*im.H*im.W*3])
	}
	return values
}

func TestImageFolder(t *testing.T) {
	loose := imageFolderOf(t)
	for name, files := range map[string]map[string][]byte{
		"loose":             loose,
		"val":               renamed(loose, "test/", "val/"),
		"tar.gz":            {"pets.tar.gz": tarGz("", loose)},
		"tar with a folder": {"pets.tar": tarOf("./pets/v1/", loose), "README": nil},
		"in a folder":       renamed(loose, "", "pets/"),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"cat", "dog"}, d.Classes); diff != "" {
				t.Errorf("classes (-want +got):\n%s", diff)
			}
			if !slices.Equal(d.Train.Labels, []int64{0, 0, 1, 1, 1}) || !slices.Equal(d.Test.Labels, []int64{0, 1}) {
				t.Errorf("labels %v, %v", d.Train.Labels, d.Test.Labels)
			}
			if !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) || !slices.Equal(reds(d.Test), []byte{60, 70}) {
				t.Errorf("images %v, %v", reds(d.Train), reds(d.Test))
			}
			if d.Train.H != 6 || d.Train.W != 8 || d.Train.C != 3 || d.Mean[0] != 0.485 {
				t.Errorf("%d×%d×%d, mean %v", d.Train.H, d.Train.W, d.Train.C, d.Mean)
			}
		})
	}
	few, err := loadAt(t, v1.ImageFolder, folder(t, loose), 3)
	if err != nil || !slices.Equal(reds(few.Train), []byte{40, 10, 50}) {
		t.Errorf("three images: %v, %v", few, err)
	}
}

// Beside test/, val/ is the validation set; alone it is the test set (above).
func TestValidationFolder(t *testing.T) {
	files := imageFolderOf(t)
	files["val/cat/v.png"], files["val/dog/w.png"], files["val/dog/z.png"] = shade(t, 80, 6, 8), shade(t, 90, 6, 8), shade(t, 100, 6, 8)
	spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, files)}
	d, err := loadSpec(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) || !slices.Equal(reds(d.Test), []byte{60, 70}) ||
		!slices.Equal(reds(d.Validation), []byte{80, 90, 100}) || !slices.Equal(d.Validation.Labels, []int64{0, 1, 1}) {
		t.Errorf("train %v, validation %v %v, test %v", reds(d.Train), reds(d.Validation), d.Validation.Labels, reds(d.Test))
	}
	if few, err := loadAt(t, v1.ImageFolder, spec.URI, 2); err != nil || !slices.Equal(reds(few.Validation), []byte{80, 90}) {
		t.Errorf("two images: %v", err)
	}
	if d.ToChannels(1); d.Validation.C != 1 || len(d.Validation.Pixels) != 3*6*8 {
		t.Error("the validation images are not made grey")
	}
	spec.ValidationFraction = 0.2
	if _, err := loadSpec(t, spec); exit.Code(err) != contract.ExitConfig || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.validationFraction is 0.2, but file:///") ||
		!strings.Contains(fmt.Sprint(err), "holds validation images of its own in val/") {
		t.Errorf("both: exit code %d: %v", exit.Code(err), err)
	}
	delete(files, "val/cat/v.png")
	if _, err := loadAt(t, v1.ImageFolder, folder(t, files), 0); exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), `class "cat" has training images, but no validation images`) {
		t.Errorf("a class without validation images: %v", err)
	}
}

func TestImageFolderIsResized(t *testing.T) {
	files := imageFolderOf(t)
	files["train/dog/b.png"] = shade(t, 20, 40, 30) // another size
	size := int32(16)
	d, err := loadSpec(t, v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, files), ImageSize: &size})
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.H != 16 || d.Test.W != 16 || !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) {
		t.Errorf("%d×%d, %v", d.Train.H, d.Test.W, reds(d.Train))
	}
}

// Loose images of a bucket are downloaded once, into one file.
func TestImageFolderInABucket(t *testing.T) {
	quiet(t)
	b := &bucket{files: imageFolderOf(t)}
	size := 0
	for name, content := range b.files {
		if strings.EqualFold(name[len(name)-4:], ".png") && !strings.Contains(name, "._") {
			size += len(content)
		}
	}
	dir := t.TempDir()
	run := func(what string, bytes int) error {
		t.Helper()
		b.read.Store(0)
		d, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: "s3://bucket"}, 0, func(string) (store.Store, error) { return b, nil }, dir)
		if err == nil && (!slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) || int(b.read.Load()) != bytes) {
			t.Errorf("%s: images %v, read %d bytes, want %d", what, reds(d.Train), b.read.Load(), bytes)
		}
		return err
	}
	if err := run("first", size); err != nil {
		t.Error(err)
	}
	if err := run("second", 0); err != nil {
		t.Error(err)
	}
	b.files["test/cat/x.png"] = []byte("garbage")
	if err := run("garbage", 0); err == nil || !strings.Contains(err.Error(), "spec.dataset.uri: s3://bucket/test/cat/x.png: is not PNG, JPEG, WebP, BMP, TIFF, PPM, PGM or GIF") {
		t.Errorf("got %v", err)
	}
}

// hugePNG says that it has many pixels.
func hugePNG(w, h uint32) []byte {
	var b bytes.Buffer
	png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1)))
	file := b.Bytes()
	binary.BigEndian.PutUint32(file[16:], w)
	binary.BigEndian.PutUint32(file[20:], h)
	binary.BigEndian.PutUint32(file[29:], crc32.ChecksumIEEE(file[12:29]))
	return file
}

func TestBadImageFolders(t *testing.T) {
	good := shade(t, 1, 6, 8)
	for name, test := range map[string]struct {
		change func(files map[string][]byte)
		want   string
	}{
		"zero bytes":        {func(f map[string][]byte) { f["train/cat/2.png"] = nil }, "train/cat/2.png: is empty"},
		"cut off":           {func(f map[string][]byte) { f["train/dog/b.png"] = good[:len(good)-20] }, "train/dog/b.png: the file is cut off"},
		"text":              {func(f map[string][]byte) { f["test/dog/y.png"] = []byte("<html>") }, "test/dog/y.png: is not PNG, JPEG, WebP, BMP, TIFF, PPM, PGM or GIF: it is an HTML page"},
		"damaged":           {func(f map[string][]byte) { f["test/dog/y.png"] = garbled(slices.Clone(good)) }, "test/dog/y.png: "},
		"bomb":              {func(f map[string][]byte) { f["train/cat/1.png"] = hugePNG(100_000, 100_000) }, "train/cat/1.png: says that it has 100000×100000 pixels"},
		"most pixels":       {func(f map[string][]byte) { f["train/cat/1.png"] = hugePNG(1<<31-1, 1<<31-1) }, "train/cat/1.png: "},
		"mixed sizes":       {func(f map[string][]byte) { f["train/cat/2.png"] = shade(t, 1, 7, 8) }, "set spec.dataset.imageSize"},
		"test size":         {func(f map[string][]byte) { f["test/cat/x.png"] = shade(t, 1, 7, 8) }, "test/cat/x.png: has 8×7 pixels, but "},
		"avif":              {func(f map[string][]byte) { f["train/cat/3.avif"] = good }, "train/cat/3.avif: only images named .png, .jpg, "},
		"class not tested":  {func(f map[string][]byte) { delete(f, "test/dog/y.png") }, `class "dog" has training images, but no test images`},
		"class not trained": {func(f map[string][]byte) { f["test/emu/y.png"] = good }, `class "emu" has test images, but no training images`},
		"no test images":    {func(f map[string][]byte) { delete(f, "test/dog/y.png"); delete(f, "test/cat/x.png") }, "there are no test images: they belong into test/<class>/ or val/<class>/"},
		"one class": {func(f map[string][]byte) {
			for name := range f {
				if strings.Contains(name, "/dog/") {
					delete(f, name)
				}
			}
		}, `there is only one class, "cat"`},
		"nothing":      {func(f map[string][]byte) { clear(f) }, "not found: ImageFolder needs train/<class>/<name> with images, and the same below test/ or val/, loose or in one archive; or lists train.csv and test.csv; or shards train-0.tar and test-0.tar of a WebDataset; or train-*.parquet and test-*.parquet of Hugging Face; it holds nothing"},
		"other things": {func(f map[string][]byte) { clear(f); f["a.csv"], f["b/c.png"] = nil, nil }, "it holds a.csv, b/c.png"},
		"path trick": {func(f map[string][]byte) {
			pack := tarOf("", map[string][]byte{"train/../../../etc/x.png": good})
			clear(f)
			f["x.tar"] = pack
		}, `x.tar: the name "train/../../../etc/x.png" leads out of the archive`},
		"absolute path": {func(f map[string][]byte) {
			pack := tarOf("/", map[string][]byte{"etc/x.png": good})
			clear(f)
			f["x.tar"] = pack
		}, `the name "/etc/x.png" leads out`},
		"archive cut off": {func(f map[string][]byte) {
			pack := tarGz("", f)
			clear(f)
			f["x.tar.gz"] = pack[:len(pack)/2]
		}, "x.tar.gz: the file is cut off"},
		"gzip bomb": {func(f map[string][]byte) {
			clear(f)
			f["x.tar.gz"] = gzipped(append(tarOf("", map[string][]byte{"train/a/b.png": good}), make([]byte, 1<<20)...))
		}, "there are no test images"}, // small enough
	} {
		t.Run(name, func(t *testing.T) {
			files := imageFolderOf(t)
			test.change(files)
			_, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
			t.Log(err)
			if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.uri: file:///") {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}

func TestBombsEnd(t *testing.T) {
	r := &boundedReader{zeros{}, 1 << 20}
	if n, err := (&bytes.Buffer{}).ReadFrom(r); err != errTooLarge || n > 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestImageFolderStopsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := load(ctx, v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, map[string][]byte{"x.tar": tarOf("", imageFolderOf(t))})}, 0, opener(t), "")
	if exit.Code(err) != contract.ExitStopped {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
}

func TestResizeAgainstTorchvision(t *testing.T) {
	var cases []peerCase
	got := map[string][]byte{}
	for _, shape := range [][2]int{{40, 40}, {31, 57}, {99, 50}, {200, 333}, {16, 16}, {9, 12}} {
		im := picture(shape[0], shape[1], 3)
		for _, size := range []int{8, 16, 33, 64} {
			id := fmt.Sprint(shape, size)
			cases = append(cases, im.peer("resize", id, peerCase{"size": size}))
			got[id] = resizeCrop(raster{im.H, im.W, im.Pixels}, 0, size, size).rgb
		}
	}
	for id, want := range torchvision(t, cases) {
		if count, most := differences(got[id], want); count > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", id, count, len(want), most)
		}
	}
}
