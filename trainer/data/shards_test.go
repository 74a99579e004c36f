package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// webDataset has three shards of seven images with the classes 2 and 10.
func webDataset(t testing.TB, change func(train0 map[string][]byte)) map[string][]byte {
	image := func(i int) []byte { return shade(t, byte(10*(i+1)), 6, 8) }
	train0 := map[string][]byte{
		"000.png": image(0), "000.cls": []byte("10\n"), "001.PNG": image(1), "001.cls": []byte("2"), "000.json": []byte("{}"), "a/000.png": image(2), "a/000.cls": []byte("10"),
	}
	if change != nil {
		change(train0)
	}
	return map[string][]byte{
		"train-0000.tar":    tarOf("", train0),
		"train-0001.tar.gz": tarGz("", map[string][]byte{"x.png": image(3), "x.cls": []byte("2"), "y.png": image(4), "y.cls": []byte("2")}),
		"test-0000.tar":     tarOf("./", map[string][]byte{"v.png": image(5), "v.cls": []byte("2"), "w.png": image(6), "w.cls": []byte("10")}),
		"README.md":         nil,
	}
}

// firstPixels are the first bytes of the images to train and to test with.
func firstPixels(t *testing.T, d *Dataset) (images [2][]byte) {
	t.Helper()
	for i, im := range []*Images{&d.Train, &d.Test} {
		for b, err := range im.Batches(t.Context(), 1, 0, 1) {
			if err != nil {
				t.Fatal(err)
			}
			images[i] = append(images[i], b.Pixels[0])
		}
	}
	return images
}

func TestWebDataset(t *testing.T) {
	quiet(t)
	files := webDataset(t, nil)
	b := &bucket{files: files}
	for range 2 {
		for _, uri := range []string{folder(t, files), folder(t, renamed(files, "", "birds/")), "s3://bucket"} {
			open := opener(t)
			if uri == "s3://bucket" {
				open = func(string) (store.Store, error) { return b, nil }
			}
			d, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, open, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			images := firstPixels(t, d)
			if !slices.Equal(d.Classes, []string{"2", "10"}) || !slices.Equal(d.Train.Labels, []int64{1, 0, 1, 0, 0}) || !slices.Equal(d.Test.Labels, []int64{0, 1}) ||
				!slices.Equal(images[0], []byte{10, 20, 30, 40, 50}) || !slices.Equal(images[1], []byte{60, 70}) {
				t.Errorf("%s: classes %v, labels %v and %v, images %v", uri, d.Classes, d.Train.Labels, d.Test.Labels, images)
			}
		}
		stayEncoded(t)
	}
}

func TestBadWebDatasets(t *testing.T) {
	for name, test := range map[string]struct {
		change func(train0 map[string][]byte)
		want   string
	}{
		"no class":      {func(f map[string][]byte) { delete(f, "001.cls") }, "train-0000.tar 001.PNG: has no class: there is no 001.cls"},
		"no image":      {func(f map[string][]byte) { delete(f, "001.PNG") }, "train-0000.tar 001.cls: is the class of no image"},
		"two images":    {func(f map[string][]byte) { f["001.jpg"] = nil }, "001.jpg: is a second image of the key 001"},
		"empty class":   {func(f map[string][]byte) { f["001.cls"] = []byte(" \n") }, "001.cls: holds \" \\n\", which is no class"},
		"long class":    {func(f map[string][]byte) { f["001.cls"] = make([]byte, 5000) }, "001.cls: is larger than 4096 bytes"},
		"unknown class": {func(f map[string][]byte) { f["001.cls"] = []byte("7") }, `class "7" has training images, but no test images`},
		"empty image":   {func(f map[string][]byte) { f["001.PNG"] = nil }, "train-0000.tar 001.PNG: is empty"},
	} {
		_, err := loadAt(t, v1.ImageFolder, folder(t, webDataset(t, test.change)), 0)
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: exit code %d: %v", name, exit.Code(err), err)
		}
	}
}
