package data

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// listFolder lists a folder of this machine. Links are followed wherever they lead, as torchvision's ImageFolder does:
// who may put links into the folder may as well put files there.
func listFolder(root string) (*listing, error) {
	l := newListing()
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, folderError(root, err)
	case !info.IsDir():
		return nil, exit.Errorf(contract.ExitData, "file://%s: is neither a folder nor %s", root, archiveNames)
	}
	if err := l.walk(root, "", []fs.FileInfo{info}); err != nil {
		return nil, err
	}
	return l, l.sort()
}

// walk adds what is in a folder. above are the folders around it and itself: a link to one of them is not followed. What
// lies there is listed anyway.
func (l *listing) walk(folder, name string, above []fs.FileInfo) error {
	entries, err := os.ReadDir(folder)
	if err != nil && len(above) > 1 && errors.Is(err, fs.ErrNotExist) { // deleted under our eyes
		return nil
	}
	if err != nil {
		return folderError(folder, err)
	}
	for _, e := range entries {
		name := path.Join(name, e.Name())
		if hidden(name) {
			continue
		}
		if err := l.entry(filepath.Join(folder, e.Name()), name, e, above); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) entry(full, name string, e fs.DirEntry, above []fs.FileInfo) error {
	if e.Type().IsRegular() {
		return l.file(name, name)
	}
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP):
		return l.breaks(name, "is a link that leads nowhere")
	case err != nil:
		return folderError(full, err)
	case info.Mode().IsRegular():
		return l.file(name, name)
	case !info.IsDir():
		return l.breaks(name, "is neither a file nor a folder")
	case slices.ContainsFunc(above, func(f fs.FileInfo) bool { return os.SameFile(f, info) }):
		return nil
	}
	if err := l.folder(name); err != nil {
		return err
	}
	return l.walk(full, name, append(slices.Clip(above), info))
}

// folderError names the file, and gives errors that are those of the disk another exit code.
func folderError(full string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) { // its text would name the path once more
		err = pathErr.Err
	}
	if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ESTALE) {
		return exit.Errorf(contract.ExitStorage, "file://%s: %w", full, err)
	}
	return exit.Errorf(contract.ExitConfig, "file://%s: %w", full, err)
}
