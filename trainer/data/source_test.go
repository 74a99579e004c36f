package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

func sumOf(content []byte) v1.Checksum {
	sum := sha256.Sum256(content)
	return v1.Checksum(hex.EncodeToString(sum[:]))
}

func TestChecksumsOfTheSpec(t *testing.T) {
	pack := tarGz("", cifarFolderOf())
	mnist := mnistFolder()
	pets := imageFolderOf(t)
	zero := v1.Checksum(strings.Repeat("0", 64))
	for name, test := range map[string]struct {
		format v1.DatasetFormat
		files  map[string][]byte
		sums   map[string]v1.Checksum
		code   contract.ExitCode
		want   string
	}{
		"archive":      {v1.CIFAR10, map[string][]byte{"cifar-10-binary.tar.gz": pack}, map[string]v1.Checksum{"cifar-10-binary.tar.gz": sumOf(pack)}, 0, ""},
		"other":        {v1.CIFAR10, map[string][]byte{"cifar-10-binary.tar.gz": pack}, map[string]v1.Checksum{"cifar-10-binary.tar.gz": zero}, contract.ExitData, "cifar-10-binary.tar.gz: its SHA-256 is not " + string(zero) + ", which spec.dataset.sha256 wants"},
		"in a folder":  {v1.MNIST, renamed(mnist, "", "raw/"), map[string]v1.Checksum{"train-images-idx3-ubyte": zero}, contract.ExitData, "raw/train-images-idx3-ubyte: its SHA-256 is not "},
		"whole name":   {v1.MNIST, renamed(mnist, "", "raw/"), map[string]v1.Checksum{"raw/t10k-labels-idx1-ubyte": zero}, contract.ExitData, "raw/t10k-labels-idx1-ubyte: its SHA-256 is not "},
		"one image":    {v1.ImageFolder, pets, map[string]v1.Checksum{"train/cat/1.png": zero}, contract.ExitData, "train/cat/1.png: its SHA-256 is not "},
		"misspelt":     {v1.MNIST, mnist, map[string]v1.Checksum{"train-image-idx3-ubyte": zero}, contract.ExitConfig, `spec.dataset.sha256: there is no file "train-image-idx3-ubyte" at`},
		"own archives": {v1.ImageFolder, map[string][]byte{"pets.tar": tarOf("", pets)}, map[string]v1.Checksum{"pets.tar": zero}, contract.ExitData, "pets.tar: its SHA-256 is not "},
	} {
		t.Run(name, func(t *testing.T) {
			spec := v1.DatasetSpec{Format: test.format, URI: folder(t, test.files), SHA256: test.sums}
			_, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t)})
			if test.code == 0 && err == nil {
				return
			}
			if name == "whole name" || name == "in a folder" { // the files before it are not those that were published either
				_, err = loadSpec(t, spec)
			}
			if exit.Code(err) != test.code || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}

// The image of a bucket is checked while it is downloaded.
func TestChecksumInABucket(t *testing.T) {
	quiet(t)
	b := &bucket{files: imageFolderOf(t)}
	spec := v1.DatasetSpec{Format: v1.ImageFolder, URI: "s3://bucket", SHA256: map[string]v1.Checksum{"x.png": v1.Checksum(strings.Repeat("1", 64))}}
	open := func(string) (store.Store, error) { return b, nil }
	if _, err := Load(t.Context(), Source{DatasetSpec: spec, Open: open, CacheDir: t.TempDir()}); exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "s3://bucket/test/cat/x.png: its SHA-256 is not ") {
		t.Errorf("got %v", err)
	}
	spec.SHA256["x.png"] = sumOf(b.files["test/cat/x.png"])
	if _, err := Load(t.Context(), Source{DatasetSpec: spec, Open: open, CacheDir: t.TempDir()}); err != nil {
		t.Error(err)
	}
}

// A download that does not have the wanted sum is not kept.
func TestWrongDownloadIsNotKept(t *testing.T) {
	quiet(t)
	const name = "cifar-10-binary.tar.gz"
	good := tarGz("", cifarFolderOf())
	b := &bucket{files: map[string][]byte{name: good}}
	spec := v1.DatasetSpec{Format: v1.CIFAR10, URI: "s3://bucket", SHA256: map[string]v1.Checksum{name: v1.Checksum(strings.Repeat("1", 64))}}
	open := func(string) (store.Store, error) { return b, nil }
	dir := t.TempDir()
	if _, err := Load(t.Context(), Source{DatasetSpec: spec, Open: open, CacheDir: dir}); exit.Code(err) != contract.ExitData {
		t.Errorf("got %v", err)
	}
	spec.SHA256[name] = sumOf(good)
	b.read.Store(0)
	if _, err := Load(t.Context(), Source{DatasetSpec: spec, Open: open, CacheDir: dir}); err != nil || int(b.read.Load()) != len(good) {
		t.Errorf("read %d bytes: %v", b.read.Load(), err)
	}
}

// Files that are not the published ones are refused, unless the spec lists them.
func TestPublishedChecksums(t *testing.T) {
	python := map[string][]byte{"train": python2Batch("fine_labels", 1), "test": python2Batch("fine_labels", 1)}
	for name, test := range map[string]struct {
		format v1.DatasetFormat
		files  map[string][]byte
		want   string
	}{
		"archive": {v1.CIFAR10, map[string][]byte{"cifar-10-binary.tar.gz": tarGz("", cifarFolderOf())}, "cifar-10-binary.tar.gz: its MD5 is not "},
		"pickles": {v1.CIFAR100, python, "train: its MD5 is not "},
		"idx":     {v1.FashionMNIST, mnistFolder(), "train-images-idx3-ubyte: unpacked: its MD5 is not "},
	} {
		t.Run(name, func(t *testing.T) {
			spec := v1.DatasetSpec{Format: test.format, URI: folder(t, test.files), SHA256: map[string]v1.Checksum{}}
			_, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t)})
			if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) || !strings.Contains(fmt.Sprint(err), "list its SHA-256 in spec.dataset.sha256") {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
			for file, content := range test.files {
				spec.SHA256[file] = sumOf(content)
			}
			if _, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t)}); err != nil {
				t.Error(err)
			}
		})
	}
	pack := tarGz("", mnistFolder())
	spec := v1.DatasetSpec{Format: v1.MNIST, URI: folder(t, map[string][]byte{"mine.tar.gz": pack}) + "/mine.tar.gz"}
	if _, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t)}); exit.Code(err) != contract.ExitData {
		t.Errorf("got %v", err)
	}
	spec.SHA256 = map[string]v1.Checksum{"mine.tar.gz": sumOf(pack)}
	if d, err := Load(t.Context(), Source{DatasetSpec: spec, Open: opener(t)}); err != nil || d.Train.N != 4 {
		t.Error(err)
	}
}
