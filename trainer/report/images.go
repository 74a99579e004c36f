package report

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

// shownImages are the images of the page.
type shownImages struct{ Mistakes, Correct, Augmented []shownImage }

// shownImage is an image with its words.
type shownImage struct {
	X, Y                               int // in the sheet, in tiles
	Index                              int
	True, Predicted, Confidence, Label string
}

// shownCell is a cell of the confusion matrix with its images.
type shownCell struct {
	ID, Title string
	Images    []shownImage
}

func (r *Report) shownImages() *shownImages {
	g := r.Images
	if g == nil {
		return nil
	}
	return &shownImages{r.show(g.Mistakes), r.show(g.Correct), r.showAugmented(g.Augmented)}
}

func (r *Report) show(examples []Example) []shownImage {
	all := make([]shownImage, len(examples))
	for i, e := range examples {
		s := r.Images.place(e)
		s.True, s.Predicted = className(r.Data.Classes, e.True), className(r.Data.Classes, e.Predicted)
		s.Confidence = Percent(e.Confidence)
		s.Label = fmt.Sprintf("%s, taken for %s with %s", s.True, s.Predicted, s.Confidence)
		if e.True == e.Predicted {
			s.Label = fmt.Sprintf("%s, recognised with %s", s.True, s.Confidence)
		}
		all[i] = s
	}
	return all
}

func (r *Report) showAugmented(examples []Example) []shownImage {
	all := make([]shownImage, len(examples))
	for i, e := range examples {
		all[i] = r.Images.place(e)
		all[i].True = className(r.Data.Classes, e.True)
		all[i].Label = all[i].True + ", augmented"
	}
	return all
}

func (r *Report) shownCells() (all []shownCell) {
	g, e := r.Images, r.Evaluation
	if g == nil || len(e.Confusion) == 0 {
		return nil
	}
	for _, c := range g.Cells {
		if c.True >= len(e.Confusion) || c.Predicted >= e.Confusion.outputs() {
			continue
		}
		n := e.Confusion[c.True][c.Predicted]
		cell := shownCell{ID: cellID(c.True, c.Predicted), Images: r.show(c.Examples), Title: e.cell(c.True, c.Predicted, n).Title}
		if int64(len(c.Examples)) < n {
			cell.Title += fmt.Sprintf("; the %d most certain", len(c.Examples))
		}
		all = append(all, cell)
	}
	return all
}

func (g *Gallery) place(e Example) shownImage {
	return shownImage{X: e.Tile % g.Columns, Y: e.Tile / g.Columns, Index: e.Index}
}

func cellID(class, output int) string { return fmt.Sprintf("cell-%d-%d", class, output) }

// cellID of a cell of the confusion matrix; "" if none of its images is shown.
func (g *Gallery) cellID(class, output int) string {
	if g.cell(class, output) == nil {
		return ""
	}
	return cellID(class, output)
}

// style holds the sheet, so that the page needs no other file.
func (g *Gallery) style() template.CSS {
	kind, rendering := "jpeg", "auto"
	if strings.HasSuffix(g.Sheet, ".png") {
		kind, rendering = "png", "pixelated"
	}
	return template.CSS(fmt.Sprintf(".tile-image { --columns: %d; --ratio: %.4g; image-rendering: %s; "+
		"background-image: url(data:image/%s;base64,%s); }\n", g.Columns, float64(g.TileHeight)/float64(g.TileWidth),
		rendering, kind, base64.StdEncoding.EncodeToString(g.picture)))
}
