package data

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// stayEncoded makes every data set too large for the memory.
func stayEncoded(t *testing.T) {
	most := mostResident
	mostResident = func() int64 { return 0 }
	t.Cleanup(func() { mostResident = most })
}

// TestWholeImagesInMemory: where training images stay in their files anyway, those to test with do so too, unless all of them
// would fit: the memory does not grow with the data set.
func TestWholeImagesInMemory(t *testing.T) {
	quiet(t)
	const all = 9 * 3 * 16 * 16
	for most, inMemory := range map[int64]bool{all: true, all - 1: false} {
		stayEncoded(t)
		mostResident = func() int64 { return most }
		spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, photographs(t)), ImageSize: ptr(int32(16))}
		d, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t), Whole: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Test.encoded == nil; got != inMemory {
			t.Errorf("%d bytes of %d: test images are in memory: %v", most, all, got)
		}
	}
}

// photographs are images of several sizes and kinds.
func photographs(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for i, name := range []string{"train/cat/1.png", "train/cat/2.png", "train/dog/3.png", "train/dog/more/4.PNG", "test/cat/5.png", "test/dog/6.png", "test/dog/7.png"} {
		im := picture(20+3*i, 30-2*i, 3)
		im.Pixels[0] = byte(i)
		files[name] = pngOf(t, *im, 0)
	}
	files["train/dog/8.jpg"] = jpegOf(40, 51, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1})
	files["train/cat/9.jpeg"] = jpegOf(44, 31, [2]int{1, 1})
	return files
}

// sameData compares the images of two data sets, whether they are in memory or not.
func sameData(t *testing.T, got, want *Dataset) {
	t.Helper()
	for part, pair := range map[string][2]*Images{"train": {&got.Train, &want.Train}, "validation": {&got.Validation, &want.Validation}, "test": {&got.Test, &want.Test}} {
		var all [2]Batch
		for i, im := range pair {
			for b, err := range im.Batches(t.Context(), 2, 0, 1) {
				if err != nil {
					t.Fatal(err)
				}
				all[i] = Batch{Pixels: append(all[i].Pixels, b.Pixels...), Labels: append(all[i].Labels, b.Labels...), N: all[i].N + b.N}
			}
		}
		if diff := cmp.Diff(all[0], all[1]); diff != "" || all[0].N != pair[1].N {
			t.Errorf("%s: %d and %d images differ", part, all[0].N, all[1].N)
		}
	}
}

// Images that stay where they are, are the same as in memory: wherever that is, in all parts, and in any channels.
func TestEncodedImages(t *testing.T) {
	quiet(t)
	files := photographs(t)
	spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, files), ImageSize: ptr[int32](16), ResizeSize: ptr[int32](18), ValidationFraction: 0.4}
	want, err := loadSpec(t, spec)
	if err != nil || want.Train.encoded != nil || want.Validation.N != 2 || want.Resize != 18 {
		t.Fatal(want, err)
	}
	stayEncoded(t)
	b := &bucket{files: files}
	for name, test := range map[string]struct {
		files map[string][]byte
		open  func(string) (store.Store, error)
	}{
		"folder": {files: files},
		"tar":    {files: map[string][]byte{"x.tar": tarOf("./a/", files)}},
		"tar.gz": {files: map[string][]byte{"x.tar.gz": tarGz("", files)}},
		"zip":    {files: map[string][]byte{"x.zip": zipOf(t, nil, files)}},
		"s3":     {open: func(string) (store.Store, error) { return b, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := spec
			if spec.URI = "s3://bucket"; test.open == nil {
				spec.URI, test.open = folder(t, test.files), opener(t)
			}
			got, err := load(t.Context(), spec, 0, test.open, "")
			if err != nil {
				t.Fatal(err)
			}
			if got.Train.encoded == nil || got.Test.encoded == nil || got.Validation.encoded == nil || got.Train.Pixels != nil {
				t.Error("the images are in memory")
			}
			runtime.GC() // would close files that nobody has
			sameData(t, got, want)
			grey := *want
			if err := grey.ToChannels(1); err != nil {
				t.Fatal(err)
			}
			if err := got.ToChannels(1); err != nil {
				t.Fatal(err)
			}
			sameData(t, got, &grey)
		})
	}
}

// Without a size images stay as they are.
func TestEncodedImagesOfOneSize(t *testing.T) {
	quiet(t)
	uri := folder(t, imageFolderOf(t))
	want, err := loadAt(t, v1.ImageFolder, uri, 0)
	if err != nil {
		t.Fatal(err)
	}
	stayEncoded(t)
	got, err := loadAt(t, v1.ImageFolder, uri, 0)
	if err != nil || got.Train.encoded == nil || got.Shape() != want.Shape() {
		t.Fatal(got, err)
	}
	sameData(t, got, want)
}

// The crops of an epoch follow from seed, epoch and index, and those of images in memory are the same, if these are whole.
func TestRandomResizedCropsOfAnEpoch(t *testing.T) {
	quiet(t)
	uri := folder(t, imageFolderOf(t))
	aug := v1.AugmentationSpec{RandomResizedCrop: &v1.RandomResizedCropSpec{}, HorizontalFlip: ptr(true), Cutout: 3}
	for _, size := range []*int32{nil, ptr[int32](6)} {
		spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: uri, ImageSize: size}
		d, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t), Whole: size != nil})
		if err != nil || (d.Train.encoded != nil) != (size != nil) || d.Test.encoded != nil {
			t.Fatal(d, err)
		}
		l, err := NewLoader(d, 2, aug, 7)
		if err != nil {
			t.Fatal(err)
		}
		first := collect(l, 1, 0)
		if len(first) != 2 || l.Err() != nil || bytes.Equal(first[0].Pixels, collect(l, 2, 0)[0].Pixels) {
			t.Fatalf("%d batches, %v", len(first), l.Err())
		}
		if diff := cmp.Diff(first[1:], collect(l, 1, 1)); diff != "" {
			t.Error("an epoch that is resumed goes on differently")
		}
		var halves []Batch
		for rank := range 2 {
			l.Slice(rank, 2)
			halves = append(halves, collect(l, 1, 0)...)
		}
		for step, whole := range first {
			a, b := halves[step], halves[step+2]
			if !bytes.Equal(whole.Pixels, append(a.Pixels, b.Pixels...)) || !slices.Equal(whole.Labels, append(a.Labels, b.Labels...)) {
				t.Errorf("two processes have another step %d", step)
			}
		}
		if _, ok := l.Crops(); ok {
			t.Error("a GPU would have to crop")
		}
	}
	if _, err := Load(t.Context(), Source{DatasetSpec: v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, Open: opener(t), Whole: true}); exit.Code(err) != contract.ExitConfig ||
		!strings.HasPrefix(fmt.Sprint(err), "spec.dataset.imageSize: is required") {
		t.Errorf("without a size: %v", err)
	}
}

// What becomes bad in the middle of a training ends it, and is named. Which image that is does not depend on the workers.
func TestEncodedImagesThatBecomeBad(t *testing.T) {
	quiet(t)
	stayEncoded(t)
	good := photographs(t)
	const victim = "train/cat/9.jpeg"
	for name, test := range map[string]struct {
		archive string
		change  func(path string) error
		want    string
	}{
		"cut off":       {"", func(path string) error { return os.Truncate(path, int64(len(good[victim])-20)) }, victim + ": the file is cut off"},
		"empty":         {"", func(path string) error { return os.Truncate(path, 0) }, victim + ": is empty"},
		"gone":          {"", os.Remove, victim + ": is no longer there"},
		"text":          {"", func(path string) error { return os.WriteFile(path, []byte("<html>"), 0o666) }, victim + ": is not PNG, JPEG"},
		"archive's end": {"x.tar", func(path string) error { return os.Truncate(path, 4096) }, "changed while it was in use"},
		"archive":       {"x.zip", func(path string) error { return os.Chtimes(path, time.Now(), time.Unix(1, 0)) }, "changed while it was in use"},
	} {
		files := good
		if test.archive != "" {
			files = map[string][]byte{"x.tar": tarOf("", good)}
			if test.archive == "x.zip" {
				files = map[string][]byte{"x.zip": zipOf(t, nil, good)}
			}
		}
		dir := folder(t, files)
		d, err := loadSpec(t, v1.DatasetSpec{Format: v1.ImageFolder, URI: dir, ImageSize: ptr[int32](16)})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(strings.TrimPrefix(dir, "file://"), victim)
		if test.archive != "" {
			path = filepath.Join(strings.TrimPrefix(dir, "file://"), test.archive)
		}
		if err := test.change(path); err != nil {
			t.Fatal(err)
		}
		l, err := NewLoader(d, 3, v1.AugmentationSpec{RandomResizedCrop: &v1.RandomResizedCropSpec{}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		n := len(collect(l, 0, 0))
		if err := l.Err(); exit.Code(err) != contract.ExitData || n >= l.StepsPerEpoch() || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.uri: file:///") ||
			!strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: %d batches, exit code %d: %v", name, n, exit.Code(err), err)
		}
		for _, err = range d.Train.Batches(t.Context(), 2, 0, 1) {
		}
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s, in order: %v", name, err)
		}
	}
}

// A file that is replaced between two epochs is noticed, though it is good.
func TestEncodedImagesThatAreReplaced(t *testing.T) {
	quiet(t)
	stayEncoded(t)
	files := photographs(t)
	dir := folder(t, files)
	d, err := loadSpec(t, v1.DatasetSpec{Format: v1.ImageFolder, URI: dir, ImageSize: ptr[int32](16)})
	if err != nil {
		t.Fatal(err)
	}
	l := loaderOf(t, d, 3)
	if collect(l, 0, 0); l.Err() != nil {
		t.Fatal(l.Err())
	}
	path := filepath.Join(strings.TrimPrefix(dir, "file://"), "train/cat/1.png")
	if err := os.WriteFile(path, files["train/cat/2.png"], 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if collect(l, 1, 0); exit.Code(l.Err()) != contract.ExitData || !strings.Contains(fmt.Sprint(l.Err()), "cat/1.png: changed while it was in use") {
		t.Error(l.Err())
	}
}

func loaderOf(t *testing.T, d *Dataset, batchSize int) *Loader {
	t.Helper()
	l, err := NewLoader(d, batchSize, augmentation, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The first bad image of a batch is the error, whoever came to it first; and the batches before it are served.
func TestTheFirstErrorIsServed(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		p := &production{
			batches: 5, most: 8, bytes: 1, chunk: 1, crew: &crew{size: workers, most: workers},
			begin: func(batch int, labels []int64) int { return 8 },
			make: func(_ *kit, dst []byte, batch, i int) error {
				if batch == 3 && i >= 5 || batch == 4 {
					return fmt.Errorf("%d %d", batch, i)
				}
				return nil
			},
		}
		n := 0
		var last error
		for _, err := range p.serve(t.Context()) {
			if last = err; err == nil {
				n++
			}
		}
		if n != 3 || fmt.Sprint(last) != "3 5" {
			t.Errorf("%d workers: %d batches, then %v", workers, n, last)
		}
	}
}

// While batches are waited for the crew grows, and no further than it may.
func TestTheCrewGrows(t *testing.T) {
	c := &crew{size: 1, most: 3}
	for _, test := range []struct {
		wait, since time.Duration
		size        int
	}{{0, time.Second, 1}, {19 * time.Millisecond, time.Second, 1}, {time.Second / 2, time.Second, 2}, {1, 1, 3}, {1, 1, 3}} {
		if c.waits(test.wait, test.since); c.size != test.size {
			t.Errorf("%v of %v: %d workers, want %d", test.wait, test.since, c.size, test.size)
		}
	}
	if waited := time.Duration(c.waited.Load()); waited != 519*time.Millisecond+2 {
		t.Errorf("waited for %v", waited)
	}
}

func TestEncodedImagesStopWithTheContext(t *testing.T) {
	quiet(t)
	stayEncoded(t)
	d, err := loadSpec(t, v1.DatasetSpec{Format: v1.ImageFolder, URI: folder(t, photographs(t)), ImageSize: ptr[int32](16)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range d.Test.Batches(ctx, 1, 0, 1) {
		t.Fatal("a batch after the end", err)
	}
}

// What a data set is, for processes that compare theirs.
func TestDigest(t *testing.T) {
	quiet(t)
	digest := func(d *Dataset) string {
		var b bytes.Buffer
		d.Train.Digest(&b)
		return b.String()
	}
	uri := folder(t, photographs(t))
	spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: uri, ImageSize: ptr[int32](16)}
	resident, err := loadSpec(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	stayEncoded(t)
	a, err := loadSpec(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.MaxTrainImages = ptr[int32](4)
	b, err := loadSpec(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	if digest(a) == digest(b) || digest(a) == digest(resident) {
		t.Error("different data looks the same")
	}
}
