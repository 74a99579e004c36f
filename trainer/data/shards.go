package data

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// shards are the archives of a WebDataset (github.com/webdataset/webdataset): <key>.jpg and <key>.cls are an image and its
// class. A file is called by the name of its archive, a slash, and its name in there.
type shards struct {
	*listing
	source *source
	keys   []string // of the archives
	parts  []*archive
}

// shardNames returns the archives of each part: train-0000.tar, test-0000.tar and so on. There are none unless there is
// more than one archive.
func shardNames(fs files) map[string][]string {
	found := map[string][]string{}
	n := 0
	for _, name := range fs.names() {
		if !isArchive(name) {
			continue
		}
		n++
		for _, part := range []string{"train", "val", "test"} {
			if rest, ok := strings.CutPrefix(path.Base(name), part); ok && strings.Trim(rest[:1], "-_.0123456789") == "" {
				found[part] = append(found[part], name)
			}
		}
	}
	if n < 2 || len(found["train"]) == 0 {
		return nil
	}
	return found
}

// shardParts opens the archives and returns them with the images in them.
func (s *source) shardParts(ctx context.Context, fs files, names map[string][]string) (all *shards, p parts, err error) {
	all = &shards{listing: newListing(), source: s}
	for part, to := range map[string]*[]item{"train": &p.train, "val": &p.validation, "test": &p.test} {
		for _, name := range names[part] {
			opened, err := s.openArchive(ctx, fs.contents().key(name))
			if err != nil {
				return nil, p, err
			}
			a := opened.(*archive)
			items, err := samples(ctx, a, name)
			if err != nil {
				return nil, p, err
			}
			all.keys, all.parts = append(all.keys, name), append(all.parts, a)
			*to = append(*to, items...)
		}
	}
	if len(p.test) == 0 {
		p.validation, p.test = nil, p.validation
	}
	return all, p, nil
}

// mostClassBytes of the file of a class.
const mostClassBytes = 4096

// samples are the images of an archive, in the order of their keys, with the classes that lie beside them.
func samples(ctx context.Context, a *archive, shard string) (items []item, err error) {
	images := map[string]int{} // by key, in items
	var keys, labels []string
	for _, name := range a.names() {
		key, extension := sampleKey(name)
		switch {
		case extension == "cls":
			keys, labels = append(keys, key), append(labels, name)
		case slices.Contains(readExtensions, "."+extension):
			if i, twice := images[key]; twice {
				return nil, exit.Errorf(contract.ExitData, "%s: is a second image of the key %s, beside %s", a.uri(name), key, path.Base(items[i].file))
			}
			images[key] = len(items)
			items = append(items, item{file: shard + "/" + name, listed: true})
		}
	}
	err = a.read(ctx, labels, func(i int, f *file) (bool, error) {
		content, err := readAtMost(f, mostClassBytes)
		at, ok := images[keys[i]]
		class := strings.TrimSpace(string(content))
		switch {
		case err != nil:
			return false, err
		case !ok:
			return false, errors.New("is the class of no image")
		case class == "" || strings.ContainsFunc(class, contract.Unprintable):
			return false, fmt.Errorf("holds %.100q, which is no class", content)
		}
		items[at].class = class
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		if it.class == "" {
			name := it.file[len(shard)+1:]
			key, _ := sampleKey(name)
			return nil, exit.Errorf(contract.ExitData, "%s: has no class: there is no %s.cls", a.uri(name), key)
		}
	}
	return items, nil
}

// sampleKey splits a name at the first dot behind its folder.
func sampleKey(name string) (key, extension string) {
	base := path.Base(name)
	before, extension, _ := strings.Cut(base, ".")
	return name[:len(name)-len(base)] + before, strings.ToLower(extension)
}

func (s *shards) contents() *listing { return s.listing }

// find returns the archive of a file, and its name in there.
func (s *shards) find(name string) (shard int, member string) {
	for i, key := range s.keys {
		if member, ok := strings.CutPrefix(name, key+"/"); ok {
			return i, member
		}
	}
	return -1, ""
}

func (s *shards) uri(name string) string {
	if i, member := s.find(name); i >= 0 {
		return s.parts[i].uri(member)
	}
	return s.source.store.URI(name)
}

// each calls visit for each archive that has some of the wanted files, with their names in there and their places in wanted.
func (s *shards) each(wanted []string, visit func(shard int, members []string, places []int) error) error {
	members, places := make([][]string, len(s.parts)), make([][]int, len(s.parts))
	for place, name := range wanted {
		i, member := s.find(name)
		members[i], places[i] = append(members[i], member), append(places[i], place)
	}
	for i := range s.parts {
		if len(members[i]) == 0 {
			continue
		}
		if err := visit(i, members[i], places[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *shards) read(ctx context.Context, wanted []string, visit func(i int, f *file) (bool, error)) error {
	return s.each(wanted, func(shard int, members []string, places []int) error {
		return s.parts[shard].read(ctx, members, func(i int, f *file) (bool, error) { return visit(places[i], f) })
	})
}

func (s *shards) direct(ctx context.Context, wanted []string) (contents, error) {
	all := &shardContents{places: make([][2]int32, len(wanted))}
	err := s.each(wanted, func(shard int, members []string, places []int) error {
		c, err := s.parts[shard].direct(ctx, members)
		for i, place := range places {
			all.places[place] = [2]int32{int32(len(all.shards)), int32(i)}
		}
		all.shards = append(all.shards, c)
		return err
	})
	return all, err
}

// shardContents are files in several archives.
type shardContents struct {
	shards []contents
	places [][2]int32 // of each file: the archive, and the number in there
}

func (c *shardContents) read(i int, buffer []byte) ([]byte, error) {
	return c.shards[c.places[i][0]].read(int(c.places[i][1]), buffer)
}

func (c *shardContents) uri(i int) string { return c.shards[c.places[i][0]].uri(int(c.places[i][1])) }
