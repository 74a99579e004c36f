package data

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/klauspost/compress/flate"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// encodedImages are images that stay in their files until a batch needs them. Their files are read, and not mapped into memory:
// pages that are mapped count as resident.
type encodedImages struct {
	contents contents
	index    []int32 // of each image among contents
	choose   framing // for those that are not cut out at random
	upright  bool    // they are turned as their files say
}

// contents are the files of images.
type contents interface {
	// read returns the content of file i, in the memory of buffer if there is room. Several may be read at a time.
	read(i int, buffer []byte) ([]byte, error)
	// uri names it for people.
	uri(i int) string
}

// take makes image i, of c channels, by a frame.
func (e *encodedImages) take(k *kit, dst []byte, i, c int, choose framing) error {
	defer k.tidy()
	k.upright = e.upright
	at := int(e.index[i])
	content, err := e.contents.read(at, k.content)
	if err == nil {
		k.content = content
		err = e.decode(k, dst, c, choose)
	}
	if err != nil {
		return inField("spec.dataset.uri", badData(e.contents.uri(at), err))
	}
	return nil
}

func (e *encodedImages) decode(k *kit, dst []byte, c int, choose framing) error {
	rgb := dst
	if c == 1 {
		rgb = grown(&k.grey, 3*len(dst))
	}
	err := k.decode(k.content, choose, func(f frame) ([]byte, error) {
		if 3*f.window.h*f.window.w != len(rgb) {
			return nil, fmt.Errorf("has %d×%d pixels, but the others have not: set spec.dataset.imageSize to bring all images to one size",
				f.box.w, f.box.h)
		}
		return rgb, nil
	})
	if err == nil && c == 1 {
		grey(dst, rgb)
	}
	return err
}

// some are those images of e whose places are given.
func (e *encodedImages) some(places []int) *encodedImages {
	index := make([]int32, len(places))
	for i, place := range places {
		index[i] = e.index[place]
	}
	return &encodedImages{e.contents, index, e.choose, e.upright}
}

var errReplaced = errors.New("changed while it was in use: what it held before is gone")

// stamp tells one version of a file from another.
func stamp(info os.FileInfo) int64 { return info.ModTime().UnixNano() ^ info.Size()<<32 }

// folderContents are files in a folder.
type folderContents struct {
	source *source
	keys   []string
	stamps []atomic.Int64 // of the files when they were first read; 0: not yet
}

func (c *folderContents) uri(i int) string { return c.source.store.URI(c.keys[i]) }

func (c *folderContents) read(i int, buffer []byte) ([]byte, error) {
	f, err := os.Open(strings.TrimPrefix(c.uri(i), "file://"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, exit.Errorf(contract.ExitData, "is no longer there")
	case errors.Is(err, fs.ErrPermission):
		return nil, exit.Errorf(contract.ExitConfig, "%w", errors.Unwrap(err))
	case err != nil:
		return nil, exit.Errorf(contract.ExitStorage, "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, exit.Errorf(contract.ExitStorage, "%w", err)
	}
	if now := stamp(info); !c.stamps[i].CompareAndSwap(0, now) && c.stamps[i].Load() != now {
		return nil, exit.Errorf(contract.ExitData, "%w", errReplaced)
	}
	buffer, err = readAt(f, 0, info.Size(), buffer)
	if err != nil {
		return nil, err
	}
	if sum := c.source.sumOf(c.keys[i]); sum != nil {
		sum.Write(buffer)
		return buffer, sum.compare()
	}
	return buffer, nil
}

// readAt reads n bytes of a file into buffer.
func readAt(f io.ReaderAt, offset, n int64, buffer []byte) ([]byte, error) {
	if n > mostImageBytes {
		return nil, fmt.Errorf("has %d bytes: at most %d are read", n, mostImageBytes)
	}
	buffer = grown(&buffer, int(n))
	m, err := f.ReadAt(buffer, offset)
	if m == len(buffer) {
		return buffer, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EISDIR) {
		return nil, io.ErrUnexpectedEOF
	}
	return nil, exit.Errorf(contract.ExitStorage, "%w", err)
}

// place is where a member of an archive lies in it.
type place struct {
	offset, packed, size int64 // packed bytes make size bytes
	deflated, summed     bool
	crc                  uint32 // if summed
}

// archiveContents are members of an archive.
type archiveContents struct {
	file   *os.File // stays open as long as this is used
	stamp  int64
	places []place
	name   func(i int) string
}

func (c *archiveContents) uri(i int) string { return c.name(i) }

func (c *archiveContents) read(i int, buffer []byte) ([]byte, error) {
	info, err := c.file.Stat()
	if err != nil {
		return nil, exit.Errorf(contract.ExitStorage, "%w", err)
	}
	if stamp(info) != c.stamp {
		return nil, exit.Errorf(contract.ExitData, "%w", errReplaced)
	}
	p := c.places[i]
	if !p.deflated {
		buffer, err = readAt(c.file, p.offset, p.size, buffer)
	} else {
		buffer, err = inflate(io.NewSectionReader(c.file, p.offset, p.packed), p.size, buffer)
	}
	if err == nil && p.summed && crc32.ChecksumIEEE(buffer) != p.crc {
		err = errors.New("is damaged: its checksum differs")
	}
	return buffer, err
}

func inflate(r io.Reader, size int64, buffer []byte) ([]byte, error) {
	if size > mostImageBytes {
		return nil, fmt.Errorf("has %d bytes: at most %d are read", size, mostImageBytes)
	}
	z := flate.NewReader(storageReader{r})
	defer z.Close()
	buffer = grown(&buffer, int(size))
	_, err := io.ReadFull(z, buffer)
	return buffer, err
}
