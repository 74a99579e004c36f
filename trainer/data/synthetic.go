package data

import (
	"fmt"
	"math/rand/v2"
)

// The synthetic data set has ten classes. Each is a pattern of 8×8 random colours, smoothed to 32×32. An image is its
// class's pattern, moved around the edges by up to twelve pixels in each direction, at a random contrast, under a
// weaker pattern of another class and noise. A network learns it within a few epochs; comparing with the mean image of
// each class does not do. All arithmetic is on integers, so that every processor makes the same images.
const (
	synthClasses = 10
	synthSize    = 32
	synthCells   = 8
	synthShift   = 12
	synthPixels  = synthSize * synthSize * 3
)

// Streams of the generator, apart from those of the epochs: see stream.
const (
	synthPatterns = -1 - iota
	synthTrain
	synthTest
)

// pattern holds values in [-127, 127], HWC.
type pattern [synthPixels]int

func synthetic(train, test int, seed int64) *Dataset {
	d := &Dataset{
		Name: "Synthetic",
		Mean: []float32{0.5, 0.5, 0.5},
		Std:  []float32{0.2, 0.2, 0.2},
	}
	patterns := make([]pattern, synthClasses)
	for k := range patterns {
		d.Classes = append(d.Classes, fmt.Sprintf("pattern %d", k))
		g := stream(seed, synthPatterns, k)
		patterns[k] = newPattern(&g)
	}
	d.Train = synthImages(patterns, train, seed, synthTrain)
	d.Test = synthImages(patterns, test, seed, synthTest)
	return d
}

// newPattern draws a colour for each cell and interpolates between them, bilinearly and around the edges.
func newPattern(g *rand.PCG) (p pattern) {
	var cells [synthCells][synthCells][3]int
	for y := range cells {
		for x := range cells[y] {
			for c := range 3 {
				cells[y][x][c] = below(g, 255) - 127
			}
		}
	}
	const step = synthSize / synthCells
	for y := range synthSize {
		for x := range synthSize {
			y0, x0, fy, fx := y/step, x/step, y%step, x%step
			y1, x1 := (y0+1)%synthCells, (x0+1)%synthCells
			for c := range 3 {
				top := cells[y0][x0][c]*(step-fx) + cells[y0][x1][c]*fx
				bottom := cells[y1][x0][c]*(step-fx) + cells[y1][x1][c]*fx
				p[(y*synthSize+x)*3+c] = (top*(step-fy) + bottom*fy) / (step * step)
			}
		}
	}
	return p
}

func synthImages(patterns []pattern, n int, seed int64, part int32) Images {
	im := Images{n, synthSize, synthSize, 3, make([]byte, n*synthPixels), make([]int64, n), nil}
	for i := range n {
		g := stream(seed, part, i)
		class := below(&g, synthClasses)
		other := (class + 1 + below(&g, synthClasses-1)) % synthClasses
		im.Labels[i] = int64(class)
		paint(im.Pixels[i*synthPixels:(i+1)*synthPixels], &g, &patterns[class], &patterns[other])
	}
	return im
}

// paint makes one image.
func paint(out []byte, g *rand.PCG, main, other *pattern) {
	shift := func() int { return synthSize + below(g, 2*synthShift+1) - synthShift }
	mainY, mainX, otherY, otherX := shift(), shift(), shift(), shift()
	contrast := 60 + below(g, 80) // in 1/256
	var noise uint64
	for y := range synthSize {
		for x := range synthSize {
			m := ((y+mainY)%synthSize*synthSize + (x+mainX)%synthSize) * 3
			o := ((y+otherY)%synthSize*synthSize + (x+otherX)%synthSize) * 3
			i := (y*synthSize + x) * 3
			noise = g.Uint64()
			for c := range 3 {
				// The sum of two bytes has a triangular distribution of deviation 104; here 26.
				n := (int(noise&255) + int(noise>>8&255) - 255) / 4
				noise >>= 16
				v := 128 + main[m+c]*contrast/128 + other[o+c]*50/128 + n
				out[i+c] = byte(min(max(v, 0), 255))
			}
		}
	}
}
