package trainer

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// photographs writes a folder of JPEGs of two classes and several sizes.
func photographs(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for i := range 24 {
		part := "train"
		if i >= 20 {
			part = "test"
		}
		dir := filepath.Join(folder, part, fmt.Sprint("class", i%2))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		im := image.NewGray(image.Rect(0, 0, 40+i, 60-i))
		for y := range im.Rect.Dy() {
			for x := range im.Rect.Dx() {
				im.SetGray(x, y, color.Gray{Y: uint8(x*y*(1+i%2) + 3*i)})
			}
		}
		var file bytes.Buffer
		if err := jpeg.Encode(&file, im, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".jpg")), file.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// Training on crops of files, interrupted inside an epoch, ends with the weights of one that was not; a file that is cut off
// in the middle of it is named.
func TestTrainOnPhotographs(t *testing.T) {
	folder := photographs(t)
	on := func(s *spec) {
		s.Dataset = v1.DatasetSpec{Format: v1.ImageFolder, URI: "file://" + folder, ImageSize: new(int32(24))}
		s.Training.BatchSize = 4
		s.Training.Augmentation = v1.AugmentationSpec{RandomResizedCrop: &v1.RandomResizedCropSpec{}}
	}
	once, twice := t.TempDir(), t.TempDir()
	if p, err := runJob(t.Context(), t, testJob(once, on), Options{}); err != nil || p.Step != 10 {
		t.Fatal(p.Step, err)
	}
	stopAt(t, testJob(twice, on), 7)
	if _, err := runJob(t.Context(), t, testJob(twice, on), Options{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, once, contract.ModelKey), read(t, twice, contract.ModelKey)) {
		t.Error("the interrupted training ends with other weights")
	}

	victim := filepath.Join(folder, "train/class1/7.jpg")
	if err := os.Truncate(victim, 700); err != nil {
		t.Fatal(err)
	}
	_, err := runJob(t.Context(), t, testJob(t.TempDir(), on), Options{})
	if want := "spec.dataset.uri: file://" + victim + ": the file is cut off"; exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("exit code %d: %v, want %s", exit.Code(err), err, want)
	}
}
