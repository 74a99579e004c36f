package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/group"
)

// TestSamplesTrain trains an epoch of each of config/samples, on a few images in the format that it names.
func TestSamplesTrain(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: trains a dozen networks")
	}
	samples, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, sample := range samples {
		t.Run(filepath.Base(sample), func(t *testing.T) {
			job, err := manifest.Load(sample)
			if err != nil {
				t.Fatal(err)
			}
			if job.Spec.Distributed != nil && !group.Available {
				t.Skip("this program was built without Gloo")
			}
			dir := t.TempDir()
			args := []string{"train", "-f", sample, "--set", "storage={uri: file://" + dir + "/models}",
				"--set", "training.epochs=1", "--set", "training.batchSize=4",
				"--set", "dataset.maxTrainImages=16", "--set", "dataset.maxTestImages=4"}
			if job.Spec.Dataset.Format != v1.Synthetic {
				folder := fewImages(t, job.Spec.Dataset.Format)
				args = append(args, "--set", "dataset.uri=file://"+folder, "--set", "dataset.sha256="+sums(t, folder))
			}
			if job.Spec.Dataset.ImageSize != nil {
				args = append(args, "--set", "dataset.imageSize=64")
			}
			if job.Spec.Dataset.ValidationFraction > 0 {
				args = append(args, "--set", "dataset.validationFraction=0.25") // of a few
			}
			if job.Spec.ResumeFrom != nil {
				args = append(args, "--set", "resumeFrom=") // is on the web
			}
			if job.Spec.Training.UnfreezeAfterEpochs != nil {
				args = append(args, "--set", "training.unfreezeAfterEpochs=") // one epoch is too few
			}
			if job.Spec.Resources.GPUs > 0 {
				args = append(args, "--set", "resources.gpus=0", "--set", "training.precision=Auto")
			}
			if err := execute(t.Context(), args); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(dir, "models", contract.JobPrefix("default", job.Name, "local"))
			for _, key := range []string{contract.ModelKey, contract.ReportKey} {
				if _, err := os.Stat(filepath.Join(folder, key)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// sums are the SHA-256 of the files in a folder, for a set that is not the one that its authors published.
func sums(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*-ubyte"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		all = append(all, fmt.Sprintf("%s: %x", filepath.Base(file), sha256.Sum256(readFile(t, file))))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// fewImages is a folder with 32 images to train and 4 to test with, or more.
func fewImages(t *testing.T, format v1.DatasetFormat) (dir string) {
	t.Helper()
	dir = t.TempDir()
	pixels := func(n int) []byte { return bytes.Repeat([]byte{0, 50, 100, 150, 200, 250}, n/6+1)[:n] }
	switch format {
	case v1.FashionMNIST, v1.MNIST:
		for name, n := range map[string]int{"train": 32, "t10k": 4} {
			header := binary.BigEndian.AppendUint32(nil, 0x0803)
			labels := binary.BigEndian.AppendUint32(nil, 0x0801)
			for _, v := range []int{n, 28, 28} {
				header = binary.BigEndian.AppendUint32(header, uint32(v))
			}
			labels = binary.BigEndian.AppendUint32(labels, uint32(n))
			for i := range n {
				labels = append(labels, byte(i%10))
			}
			write(t, filepath.Join(dir, name+"-images-idx3-ubyte"), string(append(header, pixels(n*28*28)...)))
			write(t, filepath.Join(dir, name+"-labels-idx1-ubyte"), string(labels))
		}
	case v1.CIFAR10:
		for _, name := range []string{"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"} {
			var file []byte
			for i := range 8 {
				file = append(append(file, byte(i)), pixels(3072)...)
			}
			write(t, filepath.Join(dir, name+".bin"), string(file))
		}
	case v1.ImageFolder:
		for i := range 40 {
			folder := filepath.Join(dir, "train", []string{"daisy", "rose"}[i%2])
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			writePicture(t, filepath.Join(folder, fmt.Sprintf("%d.png", i)), 40, 50, pixels(40*50*3))
		}
	default:
		t.Fatalf("add images of the format %s", format)
	}
	return dir
}
