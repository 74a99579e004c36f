// Package resample resizes images of bytes bilinearly with antialias, to the same bytes as Pillow's Image.resize.
package resample

/*
#cgo CFLAGS: -O3 -Wno-psabi
#include "resample.h"
*/
import "C"

import (
	"math"
	"slices"
	"unsafe"
)

// Axis holds the weights that take the pixels of one direction to others: Pillow's triangle filter, whose numbers have 22
// bits behind the point (src/libImaging/Resample.c). It can be set anew without new memory.
type Axis struct {
	first, weights []int32
	taps           int // weights of a pixel
	lo, hi         int
	exact          []float64 // of one pixel
}

// Set makes the axis one that takes n pixels to m, of which those from from to below to are wanted.
func (a *Axis) Set(n, m, from, to int) {
	// No product may be fused with a sum, which would be rounded otherwise: hence the conversions.
	scale := float64(n) / float64(m)
	support := max(scale, 1)
	reach := func(i int) (centre float64, first, end int) {
		centre = float64((float64(i+from) + 0.5) * scale)
		return centre, max(int(centre-support+0.5), 0), min(int(centre+support+0.5), n)
	}
	wanted := to - from
	a.taps, a.lo, a.hi = 0, n, 0
	for i := range wanted {
		_, first, end := reach(i)
		a.taps, a.lo, a.hi = max(a.taps, end-first), min(a.lo, first), max(a.hi, end)
	}
	a.first = slices.Grow(a.first[:0], wanted)[:wanted]
	a.weights = slices.Grow(a.weights[:0], wanted*a.taps)[:wanted*a.taps]
	clear(a.weights)
	a.exact = slices.Grow(a.exact[:0], a.taps)[:a.taps]
	per := 1 / support
	for i := range wanted {
		centre, first, end := reach(i)
		sum := 0.0
		for k := range end - first {
			w := max(1-math.Abs(float64((float64(k+first)-centre+0.5)*per)), 0)
			a.exact[k] = w
			sum += w
		}
		begin := min(first, a.hi-a.taps) // all have as many taps, some of weight 0, and none lies outside
		for k := range end - first {
			a.weights[i*a.taps+first-begin+k] = int32(0.5 + a.exact[k]/sum*(1<<22))
		}
		a.first[i] = int32(begin)
	}
}

// Span is the range of the pixels that are needed.
func (a *Axis) Span() (from, to int) { return a.lo, a.hi }

// Shift counts the pixels from another origin.
func (a *Axis) Shift(origin int) {
	for i := range a.first {
		a.first[i] -= int32(origin)
	}
	a.lo, a.hi = a.lo-origin, a.hi-origin
}

func (a *Axis) c() C.resample_axis {
	return C.resample_axis{first: pointer(a.first), weights: pointer(a.weights), taps: C.int(a.taps), n: C.int(len(a.first))}
}

func pointer(v []int32) *C.int32_t { return (*C.int32_t)(unsafe.SliceData(v)) }

// Rows resizes each of so many rows of src, which lie stride bytes apart, with one or three channels. Behind the last pixel
// src must have room for one byte more.
func Rows(dst, src []byte, rows, stride, channels int, a *Axis) {
	_, to := a.Span()
	_, _ = src[(rows-1)*stride+to*channels:][:channels/3], dst[:rows*len(a.first)*channels]
	at := a.c()
	C.resample_rows(bytes(dst), bytes(src), C.int(rows), C.size_t(stride), C.int(channels), at)
}

// Columns makes rows of width bytes of those of src, which lie stride bytes apart.
func Columns(dst, src []byte, width, stride int, a *Axis) {
	_, to := a.Span()
	_, _ = src[(to-1)*stride:][:width], dst[:len(a.first)*width]
	at := a.c()
	C.resample_columns(bytes(dst), bytes(src), C.size_t(width), C.size_t(stride), at)
}

func bytes(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.SliceData(b)) }
