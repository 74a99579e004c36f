package report

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"slices"

	"golang.org/x/image/draw"
)

// Prediction is what a network takes an image for: its largest output, and the probability that it gives to it.
type Prediction struct {
	Output     int
	Confidence float64
}

// Pixels of images of one size, grey (C = 1) or RGB (C = 3). At returns the H×W×C bytes of an image.
type Pixels struct {
	H, W, C int
	At      func(index int) ([]byte, error)
}

// Photos are the images that a gallery is chosen from.
type Photos struct {
	// Test images, their classes, and what they are taken for.
	Test        Pixels
	Labels      []int64
	Predictions []Prediction
	// Augmented is the beginning of a training batch.
	Augmented       Pixels
	AugmentedLabels []int64
}

// Gallery is a choice of images, which the page shows. Their pictures are tiles of one sheet.
type Gallery struct {
	// Sheet is the name of the file with all tiles, in rows of Columns, each of TileWidth×TileHeight pixels.
	Sheet      string `json:"sheet"`
	Columns    int    `json:"columns"`
	TileWidth  int    `json:"tileWidth"`
	TileHeight int    `json:"tileHeight"`
	// Mistakes are the test images of which the network was most certain and wrong, the worst first; Correct some that
	// it recognised, of as many classes as there is room for; Augmented the beginning of a training batch.
	Mistakes  []Example `json:"mistakes"`
	Correct   []Example `json:"correct"`
	Augmented []Example `json:"augmented"`
	// Cells of the confusion matrix with the most images.
	Cells []Cell `json:"cells"`

	picture []byte // the sheet
}

// Example is an image and, unless it is augmented, what it was taken for.
type Example struct {
	Tile int `json:"tile"`
	// Index of the test image, from 0.
	Index int `json:"index"`
	// True is the index of its class, Predicted that of the output it was taken for, Confidence the output's probability.
	True       int     `json:"true"`
	Predicted  int     `json:"predicted"`
	Confidence float64 `json:"confidence"`
}

// Cell holds the images of one class that were taken for the same output, the most certain first.
type Cell struct {
	True      int       `json:"true"`
	Predicted int       `json:"predicted"`
	Examples  []Example `json:"examples"`
}

// How many images a gallery has: at most maxTiles different ones, each of at most maxTileSide pixels a side. So the sheet
// takes at most 1.2 MB, and as a part of the page 1.6 MB; 240 images of CIFAR-10 take 0.6 MB and 0.8 MB.
const (
	maxTiles     = 240
	maxTileSide  = 64
	maxMistakes  = 24
	maxCorrect   = 12
	maxAugmented = 12
	maxCell      = 12
	sheetColumns = 16
	// losslessSide is the side up to which tiles are shown as they are, pixel by pixel.
	losslessSide = 40
)

// AugmentedTiles is the number of augmented images that a gallery shows.
const AugmentedTiles = maxAugmented

// NewGallery chooses images; nil if there is none. It returns the same for the same predictions.
func NewGallery(p Photos) (*Gallery, error) {
	if len(p.Predictions) == 0 && len(p.AugmentedLabels) == 0 {
		return nil, nil
	}
	g := &Gallery{Columns: sheetColumns}
	s := newSheet(max(p.Test.H, p.Augmented.H), max(p.Test.W, p.Augmented.W))
	g.TileWidth, g.TileHeight = s.tile.X, s.tile.Y
	for i := range min(maxAugmented, len(p.AugmentedLabels)) {
		g.Augmented = append(g.Augmented, Example{Tile: s.add(p.Augmented, i), True: int(p.AugmentedLabels[i])})
	}
	g.chooseTested(p, s)
	var err error
	g.Sheet, g.picture, err = s.encode()
	return g, err
}

// chooseTested chooses among the test images.
func (g *Gallery) chooseTested(p Photos, s *sheet) {
	tiles := map[int]int{} // by the index of the test image
	tile := func(e Example) Example {
		if _, ok := tiles[e.Index]; !ok {
			tiles[e.Index] = s.add(p.Test, e.Index)
		}
		e.Tile = tiles[e.Index]
		return e
	}
	var mistakes, correct []Example
	for i, q := range p.Predictions {
		e := Example{Index: i, True: int(p.Labels[i]), Predicted: q.Output, Confidence: q.Confidence}
		if !isFinite(e.Confidence) {
			e.Confidence = 0
		}
		if e.True == e.Predicted {
			correct = append(correct, e)
		} else {
			mistakes = append(mistakes, e)
		}
	}
	mostCertain := func(a, b Example) int { return cmp.Compare(b.Confidence, a.Confidence) }
	slices.SortStableFunc(mistakes, mostCertain)
	for _, e := range mistakes[:min(maxMistakes, len(mistakes))] {
		g.Mistakes = append(g.Mistakes, tile(e))
	}
	for _, e := range ofManyClasses(correct, maxCorrect) {
		g.Correct = append(g.Correct, tile(e))
	}
	slices.SortStableFunc(correct, mostCertain)
	g.Cells = cells(slices.Concat(mistakes, correct))
	wanted := make([][]Example, len(g.Cells))
	for i := range g.Cells {
		wanted[i], g.Cells[i].Examples = g.Cells[i].Examples, nil
	}
	for round := range maxCell { // first one of each cell, then a second …
		for i, examples := range wanted {
			if round < len(examples) && len(s.tiles) < maxTiles {
				g.Cells[i].Examples = append(g.Cells[i].Examples, tile(examples[round]))
			}
		}
	}
	g.Cells = slices.DeleteFunc(g.Cells, func(c Cell) bool { return len(c.Examples) == 0 })
}

// ofManyClasses chooses n examples in their order: the first of each class, then the second of each …
func ofManyClasses(all []Example, n int) (chosen []Example) {
	seen, taken := map[int]int{}, make([]bool, len(all))
	for round := 0; len(chosen) < min(n, len(all)); round++ {
		for i, e := range all {
			if !taken[i] && seen[e.True] == round && len(chosen) < n {
				seen[e.True], taken[i], chosen = round+1, true, append(chosen, e)
			}
		}
	}
	return chosen
}

// cells with at most maxCell examples each, the mistakes first, those with the most images at the beginning.
func cells(all []Example) []Cell {
	type key struct{ True, Predicted int }
	found, counts := map[key]*Cell{}, map[key]int{}
	var order []key
	for _, e := range all {
		k := key{e.True, e.Predicted}
		if found[k] == nil {
			found[k], order = &Cell{True: e.True, Predicted: e.Predicted}, append(order, k)
		}
		if counts[k]++; counts[k] <= maxCell {
			found[k].Examples = append(found[k].Examples, e)
		}
	}
	slices.SortStableFunc(order, func(a, b key) int {
		if wrong := cmp.Compare(bit(a.True == a.Predicted), bit(b.True == b.Predicted)); wrong != 0 {
			return wrong
		}
		return cmp.Compare(counts[b], counts[a])
	})
	if slices.ContainsFunc(order, func(k key) bool { return max(k.True, k.Predicted) >= maxLabelled }) {
		order = order[:min(manyPairs, len(order))] // there is no table with a cell for each, only the list of pairs
	}
	result := make([]Cell, len(order))
	for i, k := range order {
		result[i] = *found[k]
	}
	return result
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// cell of the confusion matrix; nil if none of its images is shown.
func (g *Gallery) cell(class, output int) *Cell {
	if g == nil {
		return nil
	}
	i := slices.IndexFunc(g.Cells, func(c Cell) bool { return c.True == class && c.Predicted == output })
	if i < 0 {
		return nil
	}
	return &g.Cells[i]
}

// Picture of all tiles: the content of the file Sheet.
func (g *Gallery) Picture() []byte { return g.picture }

// sheet collects tiles.
type sheet struct {
	tile  image.Point
	tiles []image.Image
	err   error // of an image that could not be read
}

// newSheet is one of tiles of images of h×w pixels, or smaller ones with about the same proportions.
func newSheet(h, w int) *sheet {
	tile := image.Pt(w, h)
	if side := max(h, w); side > maxTileSide {
		tile = image.Pt(max(1, w*maxTileSide/side), max(1, h*maxTileSide/side))
	}
	return &sheet{tile: tile}
}

// add returns the number of the tile of image i.
func (s *sheet) add(p Pixels, i int) int {
	tile, err := p.image(i)
	s.err = cmp.Or(s.err, err)
	if err == nil {
		tile = s.shrink(tile)
	}
	s.tiles = append(s.tiles, tile)
	return len(s.tiles) - 1
}

// shrink makes a larger image one of the size of tiles, so that 240 photographs are not held as they are.
func (s *sheet) shrink(full image.Image) image.Image {
	area := image.Rectangle{Max: s.tile}
	if full.Bounds().Dx() <= s.tile.X && full.Bounds().Dy() <= s.tile.Y {
		return full
	}
	var tile draw.Image = image.NewRGBA(area)
	if full.ColorModel() == color.GrayModel {
		tile = image.NewGray(area)
	}
	draw.CatmullRom.Scale(tile, area, full, full.Bounds(), draw.Src, nil)
	return tile
}

// encode draws the sheet: small images in PNG, pixel by pixel, others in JPEG.
func (s *sheet) encode() (name string, picture []byte, err error) {
	if s.err != nil {
		return "", nil, s.err
	}
	rows := (len(s.tiles) + sheetColumns - 1) / sheetColumns
	area := image.Rect(0, 0, sheetColumns*s.tile.X, max(1, rows)*s.tile.Y)
	var canvas draw.Image = image.NewRGBA(area)
	if !slices.ContainsFunc(s.tiles, func(t image.Image) bool { return t.ColorModel() != color.GrayModel }) {
		canvas = image.NewGray(area)
	}
	draw.Draw(canvas, area, image.White, image.Point{}, draw.Src)
	for i, tile := range s.tiles {
		at := image.Pt(i%sheetColumns*s.tile.X, i/sheetColumns*s.tile.Y)
		draw.CatmullRom.Scale(canvas, image.Rectangle{Min: at, Max: at.Add(s.tile)}, tile, tile.Bounds(), draw.Src, nil)
	}
	var out bytes.Buffer
	if s.lossless() {
		err = png.Encode(&out, canvas)
		return "images.png", out.Bytes(), err
	}
	err = jpeg.Encode(&out, canvas, &jpeg.Options{Quality: 85})
	return "images.jpg", out.Bytes(), err
}

func (s *sheet) lossless() bool { return max(s.tile.X, s.tile.Y) <= losslessSide }

// image i of p.
func (p Pixels) image(i int) (image.Image, error) {
	area := image.Rect(0, 0, p.W, p.H)
	pixels, err := p.At(i)
	if err != nil {
		return nil, err
	}
	if p.C == 1 {
		return &image.Gray{Pix: pixels, Stride: p.W, Rect: area}, nil
	}
	im := image.NewRGBA(area)
	for j := range p.H * p.W {
		copy(im.Pix[4*j:], pixels[p.C*j:p.C*j+3])
		im.Pix[4*j+3] = 0xff
	}
	return im, nil
}
