package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/nlpodyssey/safetensors"
)

// stream is a safetensors file that was not put together: it shares the memory of its tensors.
type stream struct {
	parts  [][]byte
	starts []int64 // of parts
	size   int64
	offset int64
}

// encode is EncodeSafetensors without a copy of the tensors.
func encode(d StateDict, metadata map[string]string) (*stream, error) {
	views := make(map[string]view, len(d))
	for name, t := range d {
		v, err := viewOf(t)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		views[name] = v
	}
	s := &stream{}
	return s, safetensors.SerializeToWriter(views, metadata, (*appender)(s))
}

// appender keeps what is written to it, without copying.
type appender stream

func (a *appender) Write(p []byte) (int, error) {
	if len(a.parts) == 0 { // the length of the header, in an array of the library's
		p = append([]byte(nil), p...)
	}
	a.parts, a.starts = append(a.parts, p), append(a.starts, a.size)
	a.size += int64(len(p))
	return len(p), nil
}

func (s *stream) ReadAt(p []byte, offset int64) (n int, err error) {
	// The last part that begins at or before offset.
	i := sort.Search(len(s.starts), func(i int) bool { return s.starts[i] > offset }) - 1
	for ; n < len(p) && i >= 0 && i < len(s.parts); i++ {
		part := s.parts[i]
		n += copy(p[n:], part[min(offset+int64(n)-s.starts[i], int64(len(part))):])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.offset)
	s.offset += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (s *stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.offset
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	s.offset = offset
	return offset, nil
}

// blob describes the whole file.
func (s *stream) blob() blob {
	h := sha256.New()
	for _, part := range s.parts {
		h.Write(part)
	}
	return blob{s.size, hex.EncodeToString(h.Sum(nil))}
}
