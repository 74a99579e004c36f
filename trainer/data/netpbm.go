package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// netpbmHeader is the beginning of a PBM, PGM or PPM file, plain (P1, P2, P3) or binary (P4, P5, P6).
type netpbmHeader struct {
	kind          byte // '1' to '6'
	width, height int
	most          int // the value of white; 1 for PBM
}

func (h netpbmHeader) plain() bool { return h.kind <= '3' }
func (h netpbmHeader) bits() bool  { return h.kind == '1' || h.kind == '4' }
func (h netpbmHeader) channels() int {
	if h.kind == '3' || h.kind == '6' {
		return 3
	}
	return 1
}

// isNetpbm tells by the first bytes whether a file is PBM, PGM or PPM.
func isNetpbm(head []byte) bool {
	return len(head) > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6' && bytes.ContainsAny(head[2:3], " \t\n\r\v\f")
}

func netpbmSize(content []byte) (width, height int, err error) {
	h, _, err := readNetpbmHeader(content)
	return h.width, h.height, err
}

// decodeNetpbm scales values to 255 as Pillow does; of grey with more than 255 levels all above 255 are white, as in
// Pillow.
func decodeNetpbm(content []byte) (r raster, err error) {
	h, rest, err := readNetpbmHeader(content)
	if err != nil {
		return r, err
	}
	next := h.binary(rest)
	if h.plain() {
		next = h.text(rest)
	}
	scale := h.scale()
	r = raster{h.height, h.width, make([]byte, 0, 3*h.height*h.width)}
	for range h.height {
		for range h.width * h.channels() {
			v, err := next()
			if err != nil {
				return r, err
			}
			if v > h.most {
				return r, fmt.Errorf("netpbm: a value is %d, but the header says that the most is %d", v, h.most)
			}
			if r.rgb = append(r.rgb, scale(v)); h.channels() == 1 {
				r.rgb = append(r.rgb, r.rgb[len(r.rgb)-1], r.rgb[len(r.rgb)-1])
			}
		}
	}
	return r, nil
}

// scale returns the function that makes bytes of values.
func (h netpbmHeader) scale() func(v int) byte {
	switch {
	case h.bits():
		return func(v int) byte { return byte(255 * (1 - v)) } // 1 is black
	case h.most == 255:
		return func(v int) byte { return byte(v) }
	case h.channels() == 1 && h.most > 255:
		return func(v int) byte { return byte(min(255, math.RoundToEven(float64(v)/float64(h.most)*65535))) }
	}
	return func(v int) byte { return byte(math.RoundToEven(float64(v) / float64(h.most) * 255)) }
}

// binary returns a function that reads the values of P4, P5 and P6 one by one.
func (h netpbmHeader) binary(rest []byte) func() (int, error) {
	at, size := 0, 1
	if h.most > 255 {
		size = 2
	}
	if h.bits() {
		size = 0
	}
	return func() (v int, err error) {
		if size == 0 { // rows begin with a byte
			row, x := at/h.width, at%h.width
			i := row*((h.width+7)/8) + x/8
			at++
			if i >= len(rest) {
				return 0, io.ErrUnexpectedEOF
			}
			return int(rest[i] >> (7 - x%8) & 1), nil
		}
		if at+size > len(rest) {
			return 0, io.ErrUnexpectedEOF
		}
		for _, b := range rest[at : at+size] {
			v = v<<8 | int(b)
		}
		at += size
		return min(v, h.most), nil // as Pillow
	}
}

// text returns a function that reads the values of P1, P2 and P3 one by one.
func (h netpbmHeader) text(rest []byte) func() (int, error) {
	words := netpbmWords{rest}
	if !h.bits() {
		return words.number
	}
	return func() (int, error) { // digits need no space between them
		words.skip()
		if len(words.rest) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		digit := words.rest[0]
		if words.rest = words.rest[1:]; digit != '0' && digit != '1' {
			return 0, fmt.Errorf("netpbm: %q is neither 0 nor 1", digit)
		}
		return int(digit - '0'), nil
	}
}

func readNetpbmHeader(content []byte) (h netpbmHeader, rest []byte, err error) {
	if !isNetpbm(content) {
		return h, nil, errors.New("netpbm: no header")
	}
	h = netpbmHeader{kind: content[1], most: 1}
	words := netpbmWords{content[2:]}
	numbers := []*int{&h.width, &h.height, &h.most}
	if h.bits() {
		numbers = numbers[:2]
	}
	for _, n := range numbers {
		if *n, err = words.number(); err != nil {
			return h, nil, err
		}
	}
	if h.most < 1 || h.most > 65535 {
		return h, nil, fmt.Errorf("netpbm: the most that a value may be is %d, but must be from 1 to 65535", h.most)
	}
	if len(words.rest) == 0 {
		return h, nil, io.ErrUnexpectedEOF
	}
	return h, words.rest[1:], nil // one space ends the header
}

// netpbmWords are numbers with white space and comments between them.
type netpbmWords struct{ rest []byte }

func (w *netpbmWords) skip() {
	for len(w.rest) > 0 {
		switch w.rest[0] {
		case ' ', '\t', '\n', '\r', '\v', '\f':
			w.rest = w.rest[1:]
		case '#':
			end := bytes.IndexAny(w.rest, "\r\n")
			if end < 0 {
				end = len(w.rest)
			}
			w.rest = w.rest[end:]
		default:
			return
		}
	}
}

func (w *netpbmWords) number() (n int, err error) {
	w.skip()
	i := 0
	for ; i < len(w.rest) && w.rest[i] >= '0' && w.rest[i] <= '9' && i < 10; i++ {
		n = 10*n + int(w.rest[i]-'0')
	}
	switch {
	case len(w.rest) == 0:
		return 0, io.ErrUnexpectedEOF
	case i == 0:
		return 0, fmt.Errorf("netpbm: %q is no digit", w.rest[0])
	}
	w.rest = w.rest[i:]
	return n, nil
}
