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
	"slices"
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
	file, err := os.Create(path + ".new")
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
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ownPrograms are those that the cluster itself needs as images.
var ownPrograms = map[string]string{"pause": pauseImage, "minio": "resnet-operator/minio:dev"}

// ownImages packs them anew if they changed.
func (c *cluster) ownImages() error {
	for name, image := range ownPrograms {
		made, err := os.Stat(c.bin(name))
		if err != nil {
			return err
		}
		if packed, err := os.Stat(c.imageTar(name)); err == nil && packed.ModTime().After(made.ModTime()) {
			continue
		}
		if err := (binaryImage{name: image, program: c.bin(name)}).write(c.imageTar(name)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) ownArchives() []string {
	var files []string
	for name := range ownPrograms {
		files = append(files, c.imageTar(name))
	}
	return files
}

// otherArchives are the images that were built or put in the folder.
func (c *cluster) otherArchives() []string {
	files, _ := filepath.Glob(c.imageTar("*")) // the pattern is well-formed
	return slices.DeleteFunc(files, func(file string) bool { return slices.Contains(c.ownArchives(), file) })
}
