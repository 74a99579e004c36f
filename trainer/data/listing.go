package data

import (
	"path"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// listing is what a folder, a bucket or an archive holds, in the same form for all of them. Names are relative to the
// URI, slash-separated and clean; names of which an element begins with a dot are left out, since other programs leave
// such files behind: .DS_Store, ._cat.png, .ipynb_checkpoints.
type listing struct {
	files   []string            // sorted, once sort was called
	folders map[string]struct{} // that hold something, or are empty
	// keys are what files are called where they lie, if that is another name: behind a link, or with // in it.
	keys map[string]string
	// broken says of names that are neither files nor folders what is wrong with them.
	broken map[string]string
	size   int
}

// longestName is Linux's PATH_MAX.
const longestName = 4096

// mostNames bounds the bytes of a listing: some ten million files. Tests lower it.
var mostNames = 1 << 30

func newListing() *listing {
	return &listing{folders: map[string]struct{}{}, keys: map[string]string{}, broken: map[string]string{}}
}

func (l *listing) names() []string { return l.files }

// key is what the file called name is called where it lies.
func (l *listing) key(name string) string {
	if key, ok := l.keys[name]; ok {
		return key
	}
	return name
}

// file adds a file, unless it is hidden.
func (l *listing) file(name, key string) error {
	if err := l.take(name); err != nil {
		return err
	}
	if dir := path.Dir(name); dir != "." {
		if err := l.folder(dir); err != nil || hidden(dir) {
			return err
		}
	}
	if hidden(name) {
		return nil
	}
	l.files = append(l.files, name)
	if key != name {
		l.keys[name] = key
	}
	return nil
}

// folder adds a folder and those around it, unless it is hidden.
func (l *listing) folder(name string) error {
	for ; name != "."; name = path.Dir(name) {
		if hidden(name) {
			continue
		}
		if _, known := l.folders[name]; known {
			return nil
		}
		if err := l.take(name); err != nil {
			return err
		}
		l.folders[name] = struct{}{}
	}
	return nil
}

// breaks adds something that cannot be read, unless it is hidden.
func (l *listing) breaks(name, why string) error {
	if !hidden(name) {
		l.broken[name] = why
	}
	return l.take(name)
}

// take checks a name and counts it.
func (l *listing) take(name string) error {
	l.size += len(name) + 32
	switch {
	case l.size > mostNames:
		return exit.Errorf(contract.ExitData, "holds more files than can be listed: names of %d MiB in all", mostNames>>20)
	case len(name) > longestName:
		return exit.Errorf(contract.ExitData, "the name %.80q… has %d bytes: at most %d are read", name, len(name), longestName)
	case strings.ContainsFunc(name, contract.Unprintable):
		return exit.Errorf(contract.ExitData, "the name %.200q has characters that cannot be shown: rename it", name)
	}
	return nil
}

// sort ends the listing. The same name twice is an error: which file is meant?
func (l *listing) sort() error {
	slices.Sort(l.files)
	for i := 1; i < len(l.files); i++ {
		if l.files[i] == l.files[i-1] {
			return exit.Errorf(contract.ExitData, "%s is there twice: rename one of the two, or take it away", l.files[i])
		}
	}
	return nil
}

// within returns those of sorted names that begin with prefix.
func within(names []string, prefix string) []string {
	from, _ := slices.BinarySearch(names, prefix)
	n, _ := slices.BinarySearchFunc(names[from:], prefix, func(name, prefix string) int {
		if strings.HasPrefix(name, prefix) {
			return -1
		}
		return 1
	})
	return names[from : from+n]
}

// checkBroken is the error for the first name below a folder that cannot be read.
func (l *listing) checkBroken(folder string, uri func(string) string) error {
	first := ""
	for name := range l.broken {
		if strings.HasPrefix(name+"/", folder) && (first == "" || name < first) {
			first = name
		}
	}
	if first == "" {
		return nil
	}
	return exit.Errorf(contract.ExitData, "%s %s: correct it, or take it away", uri(first), l.broken[first])
}

// hidden reports whether an element of a clean name begins with a dot.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }
