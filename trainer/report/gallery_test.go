package report

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// testPhotos are n test images of size h×w×c in classes, one of them mistaken in three. Every pixel of image i has the
// value i.
func testPhotos(n, h, w, c, classes int) Photos {
	at := func(i int) ([]byte, error) { return bytes.Repeat([]byte{byte(i)}, h*w*c), nil }
	p := Photos{Test: Pixels{h, w, c, at}, Augmented: Pixels{h, w, c, at}}
	for i := range n {
		class := i % classes
		q := Prediction{Output: class, Confidence: 1 - float64(i)/float64(2*n)}
		if i%3 == 0 {
			q.Output = (class + 1 + i%2) % classes
		}
		p.Labels, p.Predictions = append(p.Labels, int64(class)), append(p.Predictions, q)
	}
	p.AugmentedLabels = p.Labels[:min(n, 5)]
	return p
}

func TestGallery(t *testing.T) {
	p := testPhotos(90, 8, 8, 1, 4)
	p.Predictions[9].Confidence = math.NaN()
	g, err := NewGallery(p)
	if err != nil {
		t.Fatal(err)
	}
	sheet, _, err := image.Decode(bytes.NewReader(g.Picture()))
	if err != nil || g.Sheet != "images.png" {
		t.Fatalf("%s: %v", g.Sheet, err)
	}
	check := func(e Example, augmented bool) {
		t.Helper()
		x, y := e.Tile%g.Columns*g.TileWidth, e.Tile/g.Columns*g.TileHeight
		if grey, _, _, _ := sheet.At(x+4, y+4).RGBA(); !augmented && int(grey>>8) != e.Index {
			t.Errorf("tile %d shows image %d, not %d", e.Tile, grey>>8, e.Index)
		}
	}
	if len(g.Mistakes) != maxMistakes || g.Mistakes[0].Index != 0 || g.Mistakes[1].Index != 3 {
		t.Errorf("mistakes: %+v", g.Mistakes)
	}
	for _, e := range g.Mistakes {
		if check(e, false); e.True == e.Predicted || e.Index == 9 {
			t.Errorf("not among the worst: %+v", e)
		}
	}
	seen := map[int]int{}
	for _, e := range g.Correct {
		check(e, false)
		if seen[e.True]++; e.True != e.Predicted {
			t.Errorf("not right: %+v", e)
		}
	}
	if len(g.Correct) != maxCorrect || len(seen) != 4 || seen[0] != 3 {
		t.Errorf("%d right ones, by class %v", len(g.Correct), seen)
	}
	for i, e := range g.Augmented {
		if check(e, true); e.True != i%4 {
			t.Errorf("augmented: %+v", e)
		}
	}
	for _, c := range g.Cells {
		for _, e := range c.Examples {
			if check(e, false); e.True != c.True || e.Predicted != c.Predicted {
				t.Errorf("in cell %d, %d: %+v", c.True, c.Predicted, e)
			}
		}
		if !slices.IsSortedFunc(c.Examples, func(a, b Example) int { return int(1e6 * (b.Confidence - a.Confidence)) }) {
			t.Errorf("cell %d, %d is not sorted: %+v", c.True, c.Predicted, c.Examples)
		}
	}
	if g.cell(0, 1) == nil || g.cell(0, 0) == nil || g.cell(0, 3) != nil {
		t.Errorf("cells: %+v", g.Cells)
	}
}

func TestGalleryWithoutImages(t *testing.T) {
	if g, err := NewGallery(Photos{}); g != nil || err != nil {
		t.Errorf("%+v, %v", g, err)
	}
	// Before the first test there is only a batch; a perfect network has no mistakes.
	p := testPhotos(6, 4, 4, 3, 2)
	for i := range p.Predictions {
		p.Predictions[i].Output = int(p.Labels[i])
	}
	perfect, err := NewGallery(p)
	if err != nil || len(perfect.Mistakes) != 0 || len(perfect.Correct) != 6 {
		t.Errorf("%+v, %v", perfect, err)
	}
	p.Predictions = nil
	early, err := NewGallery(p)
	if err != nil || len(early.Augmented) != 5 || len(early.Cells) != 0 {
		t.Errorf("%+v, %v", early, err)
	}
}

func TestGalleryOfAnImageThatCannotBeRead(t *testing.T) {
	p := testPhotos(9, 8, 8, 1, 4)
	p.Test.At = func(int) ([]byte, error) { return nil, errors.New("cat.jpg: the file is cut off") }
	if _, err := NewGallery(p); err == nil || err.Error() != "cat.jpg: the file is cut off" {
		t.Error(err)
	}
}

// TestGalleryIsBounded: even of noise, which no format makes small, and of a thousand classes.
func TestGalleryIsBounded(t *testing.T) {
	for _, size := range []struct{ h, w, c, classes int }{{40, 40, 3, 10}, {64, 64, 3, 20}, {300, 150, 3, 1000}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := testPhotos(800, size.h, size.w, size.c, size.classes)
			p.Test.At = func(i int) ([]byte, error) {
				noise := make([]byte, size.h*size.w*size.c)
				_, err := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(noise)
				return noise, err
			}
			g, err := NewGallery(p)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(g.Picture()); n > 1_200_000 {
				t.Errorf("the sheet has %d bytes", n)
			}
			if max(g.TileWidth, g.TileHeight) > maxTileSide || g.TileWidth*size.h/size.w != g.TileHeight {
				t.Errorf("tiles of %d×%d", g.TileWidth, g.TileHeight)
			}
			if size.classes > maxLabelled && len(g.Cells) != manyPairs {
				t.Errorf("%d cells", len(g.Cells))
			}
		})
	}
}

// TestCellsOpenTheirImages: every button has its images, and all of them can be read where no script runs.
func TestCellsOpenTheirImages(t *testing.T) {
	for _, classes := range []int{10, 30} {
		r := testReport(3)
		r.Data.Classes = r.Data.Classes[:0]
		for i := range classes {
			r.Data.Classes = append(r.Data.Classes, fmt.Sprintf("<b>class & %d</b>", i))
		}
		p := testPhotos(1000, 32, 32, 1, classes)
		r.Evaluation = &Evaluation{Images: 1000, Accuracy: 2. / 3, Confusion: make(Confusion, classes)}
		for i := range classes {
			r.Evaluation.Confusion[i] = make([]int64, classes)
		}
		for i, q := range p.Predictions {
			r.Evaluation.Confusion[p.Labels[i]][q.Output]++
		}
		var err error
		if r.Images, err = NewGallery(p); err != nil {
			t.Fatal(err)
		}
		r.Complete()
		page := string(pageOf(t, r))
		buttons := 0
		for _, c := range r.Images.Cells {
			id := cellID(c.True, c.Predicted)
			if strings.Count(page, `<div class="cell" id="`+id+`" popover>`) != 1 {
				t.Errorf("%d classes: %s has no images", classes, id)
			}
			buttons += strings.Count(page, ` popovertarget="`+id+`" aria-label=`)
		}
		if want := map[int]int{10: len(r.Images.Cells) + maxPairs, 30: maxPairs}[classes]; buttons != want {
			t.Errorf("%d classes: %d buttons, want %d", classes, buttons, want)
		}
		if strings.Contains(page, "<b>class") || strings.Contains(page, "ZgotmplZ") {
			t.Error("a name is not escaped")
		}
	}
}
