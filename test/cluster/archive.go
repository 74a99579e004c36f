package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// binaryImage is an image made of one static executable.
type binaryImage struct {
	name    string // repository:tag
	program string // path of the executable
}

// write makes an archive as `docker save` does; containerd, docker and kind read it. The same executable always gives
// the same bytes.
func (image binaryImage) write(path string) error {
	layer := new(bytes.Buffer)
	if err := image.layer(layer); err != nil {
		return err
	}
	digest := sha256.Sum256(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": []string{image.entrypoint()},
			"User":       "65532:65532",
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(digest[:])}},
	})
	if err != nil {
		return err
	}
	list, err := json.Marshal([]map[string]any{
		{"Config": "config.json", "RepoTags": []string{image.name}, "Layers": []string{"layer.tar"}},
	})
	if err != nil {
		return err
	}
	return writeArchive(path, map[string][]byte{"manifest.json": list, "config.json": config, "layer.tar": layer.Bytes()})
}

func (image binaryImage) entrypoint() string { return "/" + filepath.Base(image.program) }

func (image binaryImage) layer(w io.Writer) error {
	program, err := os.ReadFile(image.program)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	header := &tar.Header{Name: strings.TrimPrefix(image.entrypoint(), "/"), Mode: 0o755, Size: int64(len(program))}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	if _, err := out.Write(program); err != nil {
		return err
	}
	return out.Close()
}

func writeArchive(path string, files map[string][]byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := tar.NewWriter(file)
	for _, name := range []string{"manifest.json", "config.json", "layer.tar"} {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return err
		}
		if _, err := out.Write(files[name]); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return file.Close()
}

// ownImages makes the images that the cluster itself needs, if their executables changed.
func (c *cluster) ownImages() error {
	for _, image := range []binaryImage{
		{name: pauseImage, program: c.bin("pause")},
		{name: "resnet-operator/minio:dev", program: c.bin("minio")},
	} {
		tarball := c.imageTar(filepath.Base(image.program))
		made, err := os.Stat(image.program)
		if err != nil {
			return err
		}
		if packed, err := os.Stat(tarball); err == nil && packed.ModTime().After(made.ModTime()) {
			continue
		}
		if err := image.write(tarball); err != nil {
			return err
		}
	}
	return nil
}
