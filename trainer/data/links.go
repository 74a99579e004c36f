package data

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// mostLinks is how many links may follow one another, as in Linux.
const mostLinks = 40

// linkTree is what is needed to follow the links of an archive, which lead to other members.
type linkTree struct {
	*listing
	links map[string]member
	// names of the links, and the files and folders without them; all are sorted.
	linkNames, files, folders []string
}

// follow adds the files that links lead to, by the names that they have behind the links.
func (l *listing) follow(links map[string]member) error {
	slices.Sort(l.files)
	t := &linkTree{l, links, slices.Sorted(maps.Keys(links)), slices.Clone(l.files), slices.Sorted(maps.Keys(l.folders))}
	return t.expand("", "", nil)
}

// expand adds what links below the folder real lead to, by names that begin with shown. above are the folders that
// led here: a link to one of them is not followed. What lies there is listed anyway.
func (t *linkTree) expand(shown, real string, above []string) error {
	for _, name := range within(t.linkNames, real) {
		if err := t.link(shown+name[len(real):], name, above); err != nil {
			return err
		}
	}
	return nil
}

// link adds what the link called name leads to, as shown.
func (t *linkTree) link(shown, name string, above []string) error {
	if hidden(shown) {
		return t.folder(path.Dir(shown))
	}
	target, why := t.resolve(name)
	if why != "" {
		return t.breaks(shown, why)
	}
	if _, ok := slices.BinarySearch(t.files, target); ok {
		return t.listing.file(shown, target)
	}
	if _, ok := slices.BinarySearch(t.folders, target); !ok && target != "." {
		return t.breaks(shown, "is a link that leads to nothing in the archive")
	}
	if target == "." || strings.HasPrefix(name, target+"/") || slices.Contains(above, target) {
		return nil // to a folder around it
	}
	if err := t.folder(shown); err != nil {
		return err
	}
	below := target + "/"
	for _, file := range within(t.files, below) {
		if err := t.listing.file(shown+"/"+file[len(below):], file); err != nil {
			return err
		}
	}
	for _, folder := range within(t.folders, below) { // also the empty ones
		if err := t.folder(shown + "/" + folder[len(below):]); err != nil {
			return err
		}
	}
	return t.expand(shown+"/", below, append(slices.Clip(above), target))
}

// resolve returns where a link leads in the end, or why it does not.
func (t *linkTree) resolve(name string) (target, why string) {
	for range mostLinks {
		m, prefix, ok := t.linkIn(name)
		if !ok {
			return name, ""
		}
		target := m.target
		if m.kind == symbolicLink && !path.IsAbs(target) {
			target = path.Join(path.Dir(prefix), target)
		}
		if name = path.Join(target, strings.TrimPrefix(name, prefix)); path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
			return "", "is a link that leads out of the archive"
		}
	}
	return "", "is a link that leads in a circle"
}

// linkIn finds the first part of a name that is a link.
func (t *linkTree) linkIn(name string) (m member, prefix string, ok bool) {
	for i := range len(name) {
		if name[i] == '/' {
			if m, ok = t.links[name[:i]]; ok {
				return m, name[:i], true
			}
		}
	}
	m, ok = t.links[name]
	return m, name, ok
}
