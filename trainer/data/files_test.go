package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Builders of small data sets.

// idxFile returns an IDX file of bytes.
func idxFile(content []byte, sizes ...uint32) []byte {
	file := []byte{0, 0, 8, byte(len(sizes))}
	for _, s := range sizes {
		file = binary.BigEndian.AppendUint32(file, s)
	}
	return append(file, content...)
}

// mnistImages returns n images whose pixels count up.
func mnistImages(n int) []byte {
	pixels := make([]byte, n*mnistSize*mnistSize)
	for i := range pixels {
		pixels[i] = byte(i)
	}
	return idxFile(pixels, uint32(n), mnistSize, mnistSize)
}

func mnistLabels(labels ...byte) []byte { return idxFile(labels, uint32(len(labels))) }

func mnistFolder() map[string][]byte {
	return map[string][]byte{
		"train-images-idx3-ubyte": mnistImages(4), "train-labels-idx1-ubyte": mnistLabels(3, 1, 9, 0),
		"t10k-images-idx3-ubyte": mnistImages(2), "t10k-labels-idx1-ubyte": mnistLabels(7, 7),
	}
}

// cifarRecords returns records with the given labels; the planes are red, green and blue.
func cifarRecords(labels ...byte) (file []byte) {
	for _, l := range labels {
		file = append(file, l)
		for plane := range byte(3) {
			for p := range cifarPlane {
				file = append(file, plane<<6|byte(p)&63)
			}
		}
	}
	return file
}

func cifarFolderOf() map[string][]byte {
	files := map[string][]byte{"test_batch.bin": cifarRecords(9, 8)}
	for i := range byte(5) {
		files["data_batch_"+string('1'+i)+".bin"] = cifarRecords(i, i+1)
	}
	return files
}

func gzipped(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// tarOf returns a tar in which the order of the files is not that of their names.
func tarOf(prefix string, files map[string][]byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		w.WriteHeader(&tar.Header{Name: prefix + name, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg})
		w.Write(content)
	}
	w.Close()
	return b.Bytes()
}

func tarGz(prefix string, files map[string][]byte) []byte { return gzipped(tarOf(prefix, files)) }

// folder writes files and returns their folder's URI.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a program of the system.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
