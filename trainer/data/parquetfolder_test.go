package data

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

type (
	photoRow struct {
		Image huggingFaceImage `parquet:"image"`
		Label int64            `parquet:"label"`
	}
	namedRow struct {
		Label string           `parquet:"label"`
		Image huggingFaceImage `parquet:"image"`
	}
)

// classLabelMetadata is what datasets writes of a column label of ClassLabel.
const classLabelMetadata = `{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["zebra", "ant", "mole"], "_type": "ClassLabel"}}}}`

// photos are rows of which the red of the image is ten times the number, from one on.
func photos(t testing.TB, first int, labels ...int64) (rows []photoRow) {
	for i, label := range labels {
		rows = append(rows, photoRow{huggingFaceImage{Bytes: shade(t, byte(10*(first+i)), 6, 8), Path: "x.png"}, label})
	}
	return rows
}

// tableOf is a Parquet file as datasets writes it.
func tableOf[T any](t testing.TB, rows []T, metadata string) []byte {
	t.Helper()
	var b bytes.Buffer
	options := []parquet.WriterOption{parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(2)}
	if metadata != "" {
		options = append(options, parquet.KeyValueMetadata("huggingface", metadata))
	}
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// photoTables are five images for training, in two files, and two for the test, as on Hugging Face.
func photoTables(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"data/train-00000-of-00002.parquet":      tableOf(t, photos(t, 1, 2, 0, 2), classLabelMetadata),
		"data/train-00001-of-00002.parquet":      tableOf(t, photos(t, 4, 0, 1), classLabelMetadata),
		"data/validation-00000-of-00001.parquet": tableOf(t, photos(t, 6, 1, 0, 2), classLabelMetadata),
		"README.md":                              nil,
	}
}

// TestParquetFolder: the classes keep their names and order; the images are read from the files as those of folders, also where they are
// too many for the memory, and a second time from the copy.
func TestParquetFolder(t *testing.T) {
	quiet(t)
	files := photoTables(t)
	b := &bucket{files: files}
	scratch := t.TempDir()
	for range 2 {
		for _, uri := range []string{folder(t, files), folder(t, renamed(renamed(files, "data/train-", "default/train/"), "data/validation-", "default/test/")), "s3://bucket"} {
			open := opener(t)
			if uri == "s3://bucket" {
				open = func(string) (store.Store, error) { return b, nil }
			}
			d, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, open, scratch)
			if err != nil {
				t.Fatal(err)
			}
			images := firstPixels(t, d)
			if diff := cmp.Diff([]string{"zebra", "ant", "mole"}, d.Classes); diff != "" || !slices.Equal(d.Train.Labels, []int64{2, 0, 2, 0, 1}) ||
				!slices.Equal(d.Test.Labels, []int64{1, 0, 2}) || !slices.Equal(images[0], []byte{10, 20, 30, 40, 50}) || !slices.Equal(images[1], []byte{60, 70, 80}) {
				t.Errorf("%s: classes %v, labels %v and %v, images %v", uri, d.Classes, d.Train.Labels, d.Test.Labels, images)
			}
		}
		stayEncoded(t)
	}
}

// TestParquetOfDatasets reads what today's datasets writes; $PYTORCH is a Python that has it.
func TestParquetOfDatasets(t *testing.T) {
	python := os.Getenv("PYTORCH")
	if python == "" {
		t.Skip("without $PYTORCH, which `make test-pytorch` installs")
	}
	quiet(t)
	root := t.TempDir()
	script := exec.Command(python, "-c", `
import sys
from PIL import Image
import datasets
features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ant", "mole"])})
for name, labels in ("train", [2, 0, 1]), ("test", [1, 2, 0]):
    images = [Image.new("RGB", (8, 6), (10 * i, 0, 0)) for i in range(len(labels))]
    part = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    part.to_parquet(f"{sys.argv[1]}/{name}-00000-of-00001.parquet")
`, root)
	script.Env = append(os.Environ(), "HF_HOME="+t.TempDir(), "HF_HUB_OFFLINE=1")
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d, err := loadAt(t, v1.ImageFolder, "file://"+root, 0)
	if err != nil {
		t.Fatal(err)
	}
	images := firstPixels(t, d)
	if diff := cmp.Diff([]string{"zebra", "ant", "mole"}, d.Classes); diff != "" || !slices.Equal(d.Train.Labels, []int64{2, 0, 1}) ||
		!slices.Equal(d.Test.Labels, []int64{1, 2, 0}) || !slices.Equal(images[0], []byte{0, 10, 20}) || !slices.Equal(images[1], images[0]) {
		t.Errorf("classes %v, labels %v and %v, images %v", d.Classes, d.Train.Labels, d.Test.Labels, images)
	}
}

// Labels that are names are sorted, numbers without names are counted.
func TestParquetLabels(t *testing.T) {
	rows := []namedRow{}
	for i, name := range []string{"dog", "cat", "dog"} {
		rows = append(rows, namedRow{name, huggingFaceImage{Bytes: shade(t, byte(i), 6, 8)}})
	}
	named := map[string][]byte{"train.parquet": tableOf(t, rows, ""), "test.parquet": tableOf(t, rows[:2], "")}
	numbered := map[string][]byte{"train.parquet": tableOf(t, photos(t, 1, 10, 9), "?"), "test.parquet": tableOf(t, photos(t, 1, 9, 10), "")}
	for want, files := range map[string]map[string][]byte{"[cat dog] [1 0 1]": named, "[9 10] [1 0]": numbered} {
		d, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(d.Classes, d.Train.Labels); strings.ReplaceAll(got, "][", "] [") != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestBadParquetFolders(t *testing.T) {
	const first = "data/train-00000-of-00002.parquet"
	for name, test := range map[string]struct {
		change func(files map[string][]byte)
		want   string
	}{
		"hidden labels": {func(f map[string][]byte) {
			f["data/validation-00000-of-00001.parquet"] = tableOf(t, photos(t, 1, 0, -1), classLabelMetadata)
		},
			"row 1: has the label -1, with which labels are kept secret"},
		"class not tested": {func(f map[string][]byte) {
			f["data/validation-00000-of-00001.parquet"] = tableOf(t, photos(t, 6, 1, 0), classLabelMetadata)
		}, `class "mole" has training images, but no test images`},
		"a class too many": {func(f map[string][]byte) { f[first] = tableOf(t, photos(t, 1, 0, 3), classLabelMetadata) }, "row 1: has the label 3, but there are 3 classes"},
		"other classes":    {func(f map[string][]byte) { f[first] = tableOf(t, photos(t, 1, 0, 1), "") }, "its column label has other classes than that of the first file"},
		"no label":         {func(f map[string][]byte) { f[first] = tableOf(t, []struct{ Image huggingFaceImage }{{}}, "") }, "has no column of labels: label or labels or class or category; it has Image.bytes"},
		"no image": {func(f map[string][]byte) {
			f[first] = tableOf(t, []struct {
				Label int64 `parquet:"label"`
			}{{0}}, classLabelMetadata)
		}, "has no column of images: image.bytes or img.bytes; it has label"},
		"damaged image": {func(f map[string][]byte) {
			r := photos(t, 1, 0, 2)
			r[1].Image.Bytes = []byte("GIF")
			f[first] = tableOf(t, r, classLabelMetadata)
		}, first + " row 1: "},
		"empty":         {func(f map[string][]byte) { f[first] = tableOf(t, photos(t, 1), classLabelMetadata) }, "is empty"},
		"cut off":       {func(f map[string][]byte) { f[first] = f[first][:len(f[first])/2] }, "is not a parquet file, or cut off"},
		"in an archive": {func(f map[string][]byte) { all := tarOf("", f); clear(f); f["x.tar"] = all }, "x.tar"},
	} {
		files := photoTables(t)
		test.change(files)
		_, err := loadAt(t, v1.ImageFolder, folder(t, files), 0)
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: exit code %d: %v", name, exit.Code(err), err)
		}
	}
}
