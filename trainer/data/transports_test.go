package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// tree is a data set as people lay it out, with links and empty folders.
type tree struct {
	files map[string][]byte
	// symbolic links lead from their own folder, hard links from the root.
	symbolic, hard map[string]string
	folders        []string
}

// transports lay a tree out in all the ways in which it may lie at a URI, and return what Load is given.
var transports = map[string]func(t *testing.T, files tree) (uri string, open func(string) (store.Store, error)){
	"folder": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		return "file://" + files.write(t), opener(t)
	},
	"tar": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		return folder(t, map[string][]byte{"x.tar": files.tar(t)}) + "/x.tar", opener(t)
	},
	"tar in a folder": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		return folder(t, map[string][]byte{"x.tar.gz": gzipped(files.tar(t))}), opener(t)
	},
	"tar.xz": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		dir := folder(t, map[string][]byte{"x.tar": files.tar(t)})
		run(t, "xz", strings.TrimPrefix(dir, "file://")+"/x.tar")
		return dir + "/x.tar.xz", opener(t)
	},
	"tar.zst": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b)
		must(t, err)
		w.Write(files.tar(t))
		must(t, w.Close())
		return folder(t, map[string][]byte{"x.tar.zst": b.Bytes()}) + "/x.tar.zst", opener(t)
	},
	"tar.bz2, by another name": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		dir := folder(t, map[string][]byte{"x.tar": files.tar(t)})
		path := strings.TrimPrefix(dir, "file://") + "/x.tar"
		run(t, "bzip2", path)
		must(t, os.Rename(path+".bz2", path+".gz"))
		return dir + "/x.tar.gz", opener(t)
	},
	"zip": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		return folder(t, map[string][]byte{"x.zip": files.zip(t)}) + "/x.zip", opener(t)
	},
	"zip in a bucket": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		b := &bucket{files: map[string][]byte{"sets/x.zip": files.zip(t)}}
		return "s3://bucket/sets/x.zip", func(string) (store.Store, error) { return store.Sub(b, "sets"), nil }
	},
	"bucket": func(t *testing.T, files tree) (string, func(string) (store.Store, error)) {
		if len(files.symbolic)+len(files.hard) > 0 {
			t.Skip("a bucket has no links")
		}
		b := &bucket{files: maps.Clone(files.files)}
		for _, f := range files.folders {
			b.files[f+"/"] = nil
		}
		return "s3://bucket", func(string) (store.Store, error) { return b, nil }
	},
}

// write returns a folder of it.
func (f tree) write(t *testing.T) string {
	dir := strings.TrimPrefix(folder(t, f.files), "file://")
	for _, name := range f.folders {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o777))
	}
	for _, name := range slices.Sorted(maps.Keys(f.symbolic)) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		must(t, os.Symlink(f.symbolic[name], filepath.Join(dir, name)))
	}
	for name, target := range f.hard {
		must(t, os.Link(filepath.Join(dir, target), filepath.Join(dir, name)))
	}
	return dir
}

func (f tree) tar(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range f.folders {
		must(t, w.WriteHeader(&tar.Header{Name: name + "/", Mode: 0o755, Typeflag: tar.TypeDir}))
	}
	for name, target := range f.symbolic {
		must(t, w.WriteHeader(&tar.Header{Name: "./" + name, Linkname: target, Typeflag: tar.TypeSymlink}))
	}
	for name, target := range f.hard {
		must(t, w.WriteHeader(&tar.Header{Name: name, Linkname: "./" + target, Typeflag: tar.TypeLink}))
	}
	for name, content := range f.files {
		must(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}))
		w.Write(content)
	}
	must(t, w.Close())
	return b.Bytes()
}

// zip has no hard links: a copy is in their place.
func (f tree) zip(t *testing.T) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name string, mode fs.FileMode, content []byte) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		r, err := w.CreateHeader(h)
		must(t, err)
		r.Write(content)
	}
	for _, name := range f.folders {
		add(name+"/", fs.ModeDir|0o755, nil)
	}
	for name, target := range f.symbolic {
		add(name, fs.ModeSymlink|0o777, []byte(target))
	}
	for name, content := range f.files {
		add(name, 0o644, content)
	}
	for name, target := range f.hard {
		add(name, 0o644, f.files[target])
	}
	must(t, w.Close())
	return b.Bytes()
}

// pets has two classes, with the reds 40, 50 (cat) and 10, 20, 30 (dog) for training.
func pets(t *testing.T) tree { return tree{files: imageFolderOf(t)} }

// moved has some files under other names.
func (f tree) moved(from, to string) tree {
	f.files = renamed(f.files, from, to)
	return f
}

// The same images come by every transport, however they are linked.
func TestTransports(t *testing.T) {
	quiet(t)
	for name, files := range map[string]tree{
		"plain": pets(t),
		"linked class folder": {pets(t).moved("train/cat/", "cats/").files,
			map[string]string{"train/cat": "../cats"}, nil, nil},
		"linked parts, through two links": {pets(t).moved("test/", "v1/parts/x/").files,
			map[string]string{"test": "latest/x", "latest": "v1/parts"}, nil, nil},
		"linked images": {pets(t).moved("train/cat/1.png", "all/cat-1.png").files,
			map[string]string{"train/cat/1.png": "../../all/cat-1.png"}, nil, nil},
		"hard links": {pets(t).moved("train/cat/1.png", "all/cat-1.png").files,
			nil, map[string]string{"train/cat/1.png": "all/cat-1.png"}, nil},
		"links in a circle of folders": {pets(t).files,
			map[string]string{"train/cat/all": "../cat", "train/dog/up": ".."}, nil, nil},
		"hidden folders": {with(pets(t).files, map[string][]byte{
			"train/.ipynb_checkpoints/1.png": shade(t, 99, 6, 8), "train/cat/.ipynb_checkpoints/2.png": shade(t, 99, 6, 8),
			"train/dog/.cache/deep/3.png": shade(t, 99, 6, 8), ".git/train/x/4.png": shade(t, 99, 6, 8)}),
			map[string]string{}, nil, []string{"train/.empty"}},
	} {
		for transport, lay := range transports {
			t.Run(name+"/"+transport, func(t *testing.T) {
				uri, open := lay(t, files)
				d, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, open, "")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"cat", "dog"}, d.Classes); diff != "" {
					t.Errorf("classes (-want +got):\n%s", diff)
				}
				if !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) || !slices.Equal(reds(d.Test), []byte{60, 70}) {
					t.Errorf("images %v, %v", reds(d.Train), reds(d.Test))
				}
			})
		}
	}
}

func with(files, more map[string][]byte) map[string][]byte {
	maps.Copy(files, more)
	return files
}

// The same image may be linked to from two classes or names, as torchvision reads it twice.
func TestImageLinkedTwice(t *testing.T) {
	quiet(t)
	files := pets(t)
	files.symbolic = map[string]string{"train/cat/3.png": "1.png", "train/cat/4.png": "../dog/b.png"}
	for transport, lay := range transports {
		if transport == "bucket" {
			continue
		}
		uri, open := lay(t, files)
		d, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, open, "")
		if err != nil || !slices.Equal(reds(d.Train), []byte{40, 50, 40, 20, 10, 20, 30}) {
			t.Errorf("%s: %v, %v", transport, err, d)
		}
	}
}

// No class is lost in silence: these end with an error that names it, by every transport.
func TestLostClasses(t *testing.T) {
	quiet(t)
	renamedClass := func(from, to string) map[string][]byte {
		files := pets(t).files
		for name, content := range pets(t).files {
			if strings.Contains(name, "/cat/") {
				delete(files, name)
				files[strings.Replace(name, from, to, 1)] = content
			}
		}
		return files
	}
	emu := map[string][]byte{"train/emu/1.png": shade(t, 1, 6, 8), "test/emu/1.png": shade(t, 1, 6, 8)}
	for name, test := range map[string]struct {
		files tree
		want  string
	}{
		"other extension": {tree{files: renamedClass(".png", ".jfif")}, ".jfif: only images named .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, .ppm, .pgm or .gif are read: convert or rename it"},
		"no extension":    {tree{files: renamedClass(".png", "")}, `class "cat" has no images in train/cat/ (.png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, .ppm, .pgm or .gif): it holds `},
		"empty folder":    {tree{files: imageFolderOf(t), folders: []string{"train/emu", "test/emu"}}, `class "emu" has no images in train/emu/ (.png, .jpg, `},
		"only hidden":     {tree{files: with(imageFolderOf(t), map[string][]byte{"train/emu/.DS_Store": nil})}, `class "emu" has no images in train/emu/`},
		"empty for testing": {tree{files: with(imageFolderOf(t), map[string][]byte{"train/emu/1.png": shade(t, 1, 6, 8)}), folders: []string{"test/emu"}},
			`class "emu" has no images in test/emu/`},
		"link to nothing":        {tree{files: imageFolderOf(t), symbolic: map[string]string{"train/emu": "../emus"}}, "train/emu is a link that leads"},
		"link to itself":         {tree{files: imageFolderOf(t), symbolic: map[string]string{"train/emu": "emu"}}, "train/emu is a link that leads"},
		"linked image is gone":   {tree{files: with(imageFolderOf(t), emu), symbolic: map[string]string{"train/emu/2.png": "../emus/2.png"}}, "train/emu/2.png is a link that leads"},
		"the part is a bad link": {tree{files: imageFolderOf(t), symbolic: map[string]string{"val": "nowhere"}}, "val is a link that leads"},
		"terminal":               {tree{files: with(imageFolderOf(t), map[string][]byte{"train/cat/\x1b[2J.png": nil})}, `the name "train/cat/\x1b[2J.png" has characters that cannot be shown: rename it`},
		"other order":            {tree{files: with(imageFolderOf(t), map[string][]byte{"train/cat/\u202egnp.exe": nil})}, "has characters that cannot be shown"},
		"class is not UTF-8":     {tree{files: with(imageFolderOf(t), map[string][]byte{"train/caf\xe9/1.png": shade(t, 1, 6, 8)})}, `the name of class "caf\xe9" is not UTF-8`},
		"no class":               {tree{files: map[string][]byte{"train/1.png": nil, "test/2.png": nil}}, "1.png: lies in no folder of a class: images belong into train/<class>/"},
	} {
		for transport, lay := range transports {
			t.Run(name+"/"+transport, func(t *testing.T) {
				uri, open := lay(t, test.files)
				_, err := load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: uri}, 0, open, "")
				if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), test.want) || !strings.HasPrefix(fmt.Sprint(err), "spec.dataset.uri: ") {
					t.Errorf("exit code %d: %v", exit.Code(err), err)
				}
			})
		}
	}
}

// Links of a folder may lead out of it, as in torchvision; those of an archive have nothing else to lead to.
func TestLinksThatLeadOut(t *testing.T) {
	files := pets(t).moved("train/cat/", "cats/")
	outside := filepath.Join(tree{files: files.files}.write(t), "cats")
	for name, content := range files.files {
		if strings.HasPrefix(name, "cats/") {
			delete(files.files, name)
			_ = content
		}
	}
	files.symbolic = map[string]string{"train/cat": outside}
	d, err := loadAt(t, v1.ImageFolder, "file://"+files.write(t), 0)
	if err != nil || !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) {
		t.Errorf("%v", err)
	}
	for _, target := range []string{"/etc", "../../../etc"} {
		files.symbolic["train/cat"] = target
		_, err := loadAt(t, v1.ImageFolder, folder(t, map[string][]byte{"x.tar": files.tar(t)}), 0)
		if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "x.tar train/cat is a link that leads out of the archive: correct it, or take it away") {
			t.Errorf("got %v", err)
		}
	}
}

// What is neither a file nor a folder is not opened: a pipe would never end.
func TestDevices(t *testing.T) {
	dir := pets(t).write(t)
	run(t, "mkfifo", filepath.Join(dir, "train/cat/3.png"))
	_, err := loadAt(t, v1.ImageFolder, "file://"+dir, 0)
	if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "train/cat/3.png is neither a file nor a folder") {
		t.Errorf("got %v", err)
	}
	must(t, os.Symlink("/dev/zero", filepath.Join(dir, "train/cat/2a.png")))
	if _, err := loadAt(t, v1.ImageFolder, "file://"+dir, 0); !strings.Contains(fmt.Sprint(err), "train/cat/2a.png is neither a file nor a folder") {
		t.Errorf("got %v", err)
	}
}

// Keys with // are written by programs that join names; S3 keeps them.
func TestDoubleSlashInKeys(t *testing.T) {
	quiet(t)
	files := renamed(renamed(imageFolderOf(t), "train/cat/", "/train//cat/"), "test/", "//test/")
	b := &bucket{files: files}
	read := func() (*Dataset, error) {
		return load(t.Context(), v1.DatasetSpec{Format: v1.ImageFolder, URI: "s3://bucket"}, 0, func(string) (store.Store, error) { return b, nil }, "")
	}
	d, err := read()
	if err != nil || !slices.Equal(reds(d.Train), []byte{40, 50, 10, 20, 30}) || !slices.Equal(reds(d.Test), []byte{60, 70}) {
		t.Fatal(err)
	}
	b.files["train/cat/1.png"] = shade(t, 1, 6, 8)
	if _, err := read(); exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "s3://bucket/: train/cat/1.png is there twice") {
		t.Errorf("got %v", err)
	}
}

// Of a name that is in an archive twice the last one counts, as after unpacking it: tar --append writes such archives.
func TestNameTwiceInAnArchive(t *testing.T) {
	files := pets(t)
	newer := tree{files: map[string][]byte{"train/cat/1.png": shade(t, 41, 6, 8)}}
	first := bytes.TrimRight(files.tar(t), "\x00")
	pack := append(first, make([]byte, -len(first)&511)...)
	d, err := loadAt(t, v1.ImageFolder, folder(t, map[string][]byte{"x.tar": append(pack, newer.tar(t)...)}), 0)
	if err != nil || !slices.Equal(reds(d.Train), []byte{41, 50, 10, 20, 30}) {
		t.Errorf("%v", err)
	}
}

// A file that is no archive by its name is not taken for an empty folder.
func TestURIOfAFile(t *testing.T) {
	uri := folder(t, map[string][]byte{"pets.rar": []byte("Rar!")}) + "/pets.rar"
	_, err := loadAt(t, v1.ImageFolder, uri, 0)
	if exit.Code(err) != contract.ExitData || !strings.Contains(fmt.Sprint(err), "pets.rar: is neither a folder nor an archive: .tar, .tar.gz, ") {
		t.Errorf("got %v", err)
	}
}
