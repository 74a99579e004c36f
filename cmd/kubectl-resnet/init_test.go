package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// folder of images of a size, by their names.
func folder(t *testing.T, side int, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "My Flowers")
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side+10))); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := writeFile(filepath.Join(dir, name), b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func numberedImages(classes []string, n int) (names []string) {
	for _, class := range classes {
		for i := range n {
			names = append(names, fmt.Sprintf("%s/%d.png", class, i))
		}
	}
	return names
}

// namesIn an archive, in their order.
func namesIn(t *testing.T, r io.Reader) (names []string) {
	t.Helper()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestInitWithoutACluster(t *testing.T) {
	dir := folder(t, 250, append(numberedImages([]string{"roses", "tulips"}, 10), ".hidden/x.png", "roses/notes.txt")...)
	file := filepath.Join(t.TempDir(), "job.yaml")
	init := func(args ...string) (int, string, string) {
		var out, errOut bytes.Buffer
		code := execute(context.Background(), genericclioptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut},
			append([]string{"init", dir, "-f", file, "--no-upload"}, args...))
		return code, out.String(), errOut.String()
	}
	if code, _, errOut := init(); code != 1 || !strings.Contains(errOut, "Where shall results go (s3://bucket/prefix)? Say it by --storage") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	code, out, errOut := init("--storage", "s3://models", "--endpoint", "http://minio.minio:9000", "--secret", "account")
	if code != 0 || !strings.Contains(errOut, "20 images of 2 classes, 4 of them to test with; median of their shorter sides: 250 pixels") {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "init.yaml", string(text))
	job, err := manifest.Parse(text)
	if err != nil || job.Name != "my-flowers" || *job.Spec.Dataset.ImageSize != 224 || job.Spec.Model.Stem != v1.StemImageNet {
		t.Errorf("%+v, %v", job, err)
	}
	archive, err := os.ReadFile(filepath.Join(filepath.Dir(file), "my-flowers.tar"))
	if err != nil {
		t.Fatal(err)
	}
	names := namesIn(t, bytes.NewReader(archive))
	count := func(prefix string) int {
		return len(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, prefix) }))
	}
	if len(names) != 20 || count("train/roses/") != 8 || count("test/roses/") != 2 || count("test/tulips/") != 2 {
		t.Errorf("packed %v", names)
	}
	if code, _, errOut := init("--storage", "s3://models"); code != 1 || !strings.Contains(errOut, "exists: --force overwrites it") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	for flag, want := range map[string]string{
		"--test-fraction=1":    "--test-fraction is 1: it must be more than 0 and less than 1",
		"--storage=models":     `--storage is "models": want s3://bucket/prefix`,
		"--data=s3://models/x": "must end in the name of an archive",
		"--epochs=-1":          "spec.training.epochs",
	} {
		if code, _, errOut := init("--storage=s3://models", "--force", flag); code != 1 || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit code %d: %s", flag, code, errOut)
		}
	}
}

func TestInitUploads(t *testing.T) {
	e := newEnv(t)
	s3 := e.bucket()
	dir := folder(t, 20, numberedImages([]string{"a", "b"}, 5)...)
	file := filepath.Join(t.TempDir(), "job.yaml")
	out := e.ok("init", dir, "-f", file, "--storage", "s3://"+storetest.Bucket, "--endpoint", s3.Endpoint, "--region", s3.Region, "--secret", "account")
	if !strings.Contains(out, "kubectl resnet create -f "+file) {
		t.Error(out)
	}
	e.kubelet.mu.Lock()
	address := e.ports[e.ns+"/minio-0:9001"]
	e.kubelet.mu.Unlock()
	st, err := store.OpenBy("s3://"+storetest.Bucket, &v1.S3Spec{Endpoint: "http://" + address, Region: "us-east-1"},
		store.Access{Account: store.Account{AccessKeyID: storetest.AccessKey, SecretAccessKey: storetest.SecretKey}})
	e.must(err)
	archive, _, err := store.ReadAll(t.Context(), st, "data/my-flowers.tar")
	e.must(err)
	if names := namesIn(t, bytes.NewReader(archive)); len(names) != 10 {
		t.Errorf("uploaded %v", names)
	}
	if out := e.ok("create", "-f", file); !strings.HasPrefix(out, "my-flowers created") {
		t.Error(out)
	}
}
