package report

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// maxLabelled is the number of classes up to which the cells of a confusion matrix hold their numbers.
const maxLabelled = 20

// Pictures are the curves and, if there is an evaluation, what is confused and the accuracy of each class.
func (r *Report) Pictures() []Picture {
	pictures := r.Curves()
	e := r.Evaluation
	if e == nil || len(e.Confusion) == 0 {
		return pictures
	}
	return append(pictures, e.confusionPicture(), e.perClassPicture())
}

// confusionPicture is the matrix, or of many classes the pairs that are confused most.
func (e *Evaluation) confusionPicture() Picture {
	const name = "confusion"
	if e.Confusion.outputs() > maxMatrix {
		var pairs []bar
		for _, p := range slices.Backward(e.Confused) {
			pairs = append(pairs, bar{short(p.True) + " → " + short(p.Predicted), p.Share})
		}
		return barPicture(name, "Most confused classes: true → predicted", "images of the true class (%)", pairs)
	}
	n := vg.Length(e.Confusion.outputs())
	side := 130 + min(max(n*36, 220), max(720, n*9))
	return Picture{Name: name, Title: "Confusion matrix", width: side + 20, height: side, build: e.matrixPlot}
}

// perClassPicture has a bar for each class, the best on top, or of many classes for those that are recognised least.
func (e *Evaluation) perClassPicture() Picture {
	const name, axis = "per-class", "images of the class that were recognised (%)"
	classes := slices.Clone(e.PerClass)
	slices.SortStableFunc(classes, func(a, b Class) int { return cmp.Compare(a.Accuracy, b.Accuracy) })
	title := "Accuracy by class"
	if len(classes) > maxMatrix {
		title = fmt.Sprintf("Accuracy of the %d classes of %d that were recognised least", manyPairs, len(classes))
		classes = classes[:manyPairs]
	}
	var bars []bar
	for _, c := range classes {
		bars = append(bars, bar{short(c.Name), c.Accuracy})
	}
	return barPicture(name, title, axis, bars)
}

// short is a name as far as a picture has room for it.
func short(name string) string {
	const most = 24
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return name
}

// matrixPlot has a row for each true class, the first on top, and a column for each predicted one.
func (e *Evaluation) matrixPlot() (*plot.Plot, error) {
	n, outputs := len(e.Confusion), e.Confusion.outputs()
	p := newPlot("Confusion matrix: images of each class (row) by prediction (column)", "predicted class", "true class")
	p.Add(matrix{e})
	rows, columns := make([]plot.Tick, n), make([]plot.Tick, outputs)
	for i, c := range e.PerClass {
		rows[i] = plot.Tick{Value: float64(n - 1 - i), Label: short(c.Name)}
	}
	for j := range columns {
		columns[j] = plot.Tick{Value: float64(j), Label: short(e.output(j))}
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(columns), plot.ConstantTicks(rows)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = -0.5, float64(outputs)-0.5, -0.5, float64(n)-0.5
	p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/4, draw.XRight, draw.YTop
	p.X.Tick.Length, p.Y.Tick.Length = 0, 0
	if outputs > maxLabelled {
		size := vg.Length(max(5, 10-float64(outputs)/20))
		p.X.Tick.Label.Font.Size, p.Y.Tick.Label.Font.Size = size, size
	}
	return p, nil
}

// matrix draws the cells of a confusion matrix.
type matrix struct{ e *Evaluation }

// Plot implements plot.Plotter.
func (m matrix) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	n, labelled := len(m.e.Confusion), m.e.Confusion.outputs() <= maxLabelled
	gap := vg.Length(0.5)
	for i, row := range m.e.Confusion {
		for j, count := range row {
			if count == 0 && !labelled {
				continue
			}
			share := ratio(count, m.e.PerClass[i].Images)
			left, bottom := x(float64(j)-0.5)+gap, y(float64(n-1-i)-0.5)+gap
			right, top := x(float64(j)+0.5)-gap, y(float64(n-1-i)+0.5)-gap
			c.SetColor(shade(share))
			c.Fill(vg.Rectangle{Min: vg.Point{X: left, Y: bottom}, Max: vg.Point{X: right, Y: top}}.Path())
			if !labelled || count == 0 {
				continue
			}
			style := text.Style{Font: p.X.Tick.Label.Font, Color: ink, XAlign: draw.XCenter, YAlign: draw.YCenter, Handler: plot.DefaultTextHandler}
			if dark(share) {
				style.Color = color.White
			}
			style.Font.Size = cellFont(right-left, count)
			c.FillText(style, vg.Point{X: (left + right) / 2, Y: (bottom + top) / 2}, strconv.FormatInt(count, 10))
		}
	}
}

// cellFont is the size at which a number fits a cell; a digit is about 0.56 em wide.
func cellFont(width vg.Length, count int64) vg.Length {
	digits := len(strconv.FormatInt(count, 10))
	return min(10, width/vg.Length(0.56*float64(max(digits, 3))+0.3))
}

// strength is how strong the colour of a share is: its square root, so that rare confusions are seen beside the many
// images that were recognised.
func strength(share float64) float64 { return math.Sqrt(min(max(share, 0), 1)) }

// dark says whether the colour of a share needs light text on it.
func dark(share float64) bool { return strength(share) > 0.62 }

// shade goes from nearly white to dark blue, in steps of equal lightness.
func shade(share float64) color.RGBA {
	s := strength(share)
	mix := func(from, to float64) uint8 { return uint8(math.Round(from + (to-from)*s)) }
	return color.RGBA{mix(0xf2, 0x08), mix(0xf5, 0x30), mix(0xf9, 0x6b), 0xff}
}

// bar of a picture: a name and a share in [0, 1].
type bar struct {
	name  string
	share float64
}

// barPicture shows bars from below.
func barPicture(name, title, axis string, all []bar) Picture {
	return Picture{Name: name, Title: title, width: 460, height: 90 + max(vg.Length(len(all))*16, 60), build: func() (*plot.Plot, error) {
		p := newPlot(title, axis, "")
		grid := gridLines()
		grid.Horizontal.Width = 0
		p.Add(grid, bars(all))
		ticks := make([]plot.Tick, len(all))
		for i, b := range all {
			ticks[i] = plot.Tick{Value: float64(i), Label: b.name}
		}
		p.Y.Tick.Marker, p.Y.Tick.Length = plot.ConstantTicks(ticks), 0
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 100, -0.6, float64(len(all))-0.4
		return p, nil
	}}
}

// bars draws a horizontal bar with its number for each share, from below.
type bars []bar

// Plot implements plot.Plotter.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := text.Style{Font: p.X.Tick.Label.Font, Color: ink, YAlign: draw.YCenter, Handler: plot.DefaultTextHandler}
	style.Font.Size = 9
	for i, bar := range b {
		end := x(100 * bar.share)
		c.SetColor(blue)
		c.Fill(vg.Rectangle{
			Min: vg.Point{X: x(0), Y: y(float64(i) - 0.36)},
			Max: vg.Point{X: end, Y: y(float64(i) + 0.36)},
		}.Path())
		s, at := style, vg.Point{X: end + 4, Y: y(float64(i))}
		if bar.share > 0.5 {
			s.Color, s.XAlign, at.X = color.White, draw.XRight, end-4
		}
		c.FillText(s, at, fmt.Sprintf("%.1f", 100*bar.share))
	}
}
