package report

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// curve is a line of a plot over the epochs.
type curve struct {
	name   string
	color  color.RGBA
	dashes []vg.Length
	mark   draw.GlyphDrawer
	value  func(m checkpoint.EpochMetrics) *float64
}

// Curves are the pictures of the history: loss, accuracy, learning rate and gradients over the epochs.
func (r *Report) Curves() []Picture {
	if len(r.History) == 0 {
		return nil
	}
	curvesOf := func(name, title string, build func() (*plot.Plot, error)) Picture {
		return Picture{Name: name, Title: title, width: 460, height: 300, build: build}
	}
	curves := []Picture{
		curvesOf("loss", "Loss by epoch", r.lossPlot),
		curvesOf("accuracy", "Accuracy by epoch", r.accuracyPlot),
		curvesOf("learning-rate", "Learning rate by epoch", r.learningRatePlot),
	}
	if r.last().GradNorm > 0 {
		curves = append(curves, curvesOf("gradient-norm", "Norm of the gradients by epoch", r.gradientPlot))
	}
	return curves
}

func (r *Report) lossPlot() (*plot.Plot, error) {
	return r.curvePlot("Loss", "cross-entropy", true, nil,
		curve{"train", blue, nil, draw.CircleGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return &m.TrainLoss }},
		curve{"validation", green, []vg.Length{2, 3}, draw.TriangleGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return m.ValidationLoss }},
		curve{"test", vermillion, []vg.Length{6, 3}, draw.SquareGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return &m.TestLoss }},
	)
}

func (r *Report) accuracyPlot() (*plot.Plot, error) {
	test := func(m checkpoint.EpochMetrics) *float64 { return percent(&m.Accuracy) }
	p, err := r.curvePlot("Accuracy", "accuracy (%)", false, []float64{0, 100},
		curve{"test", vermillion, []vg.Length{6, 3}, draw.SquareGlyph{}, test},
		curve{"test, int8", ink, []vg.Length{3, 1}, draw.CrossGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return percent(m.Int8Accuracy) }},
		curve{"test, flip TTA", purple, []vg.Length{1, 2}, draw.PyramidGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return percent(m.FlipTTAAccuracy) }},
		curve{"test, top 5", blue, nil, draw.CircleGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return percent(m.Top5Accuracy) }},
		curve{"validation", green, []vg.Length{2, 3}, draw.TriangleGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return percent(m.ValidationAccuracy) }},
	)
	if err != nil || r.best().Epoch == 0 {
		return p, err
	}
	best, err := plotter.NewScatter(plotter.XYs{{X: float64(r.best().Epoch), Y: 100 * r.best().Accuracy}})
	if err != nil {
		return nil, err
	}
	best.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: 6, Shape: draw.RingGlyph{}}
	p.Add(best)
	p.Legend.Add("best epoch", best)
	return p, nil
}

func (r *Report) learningRatePlot() (*plot.Plot, error) {
	return r.curvePlot("Learning rate", "at the end of the epoch", r.Spec.Training.Schedule.Type == v1.Step, nil,
		curve{"learning rate", blue, nil, draw.CircleGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return &m.LR }},
	)
}

func (r *Report) gradientPlot() (*plot.Plot, error) {
	return r.curvePlot("Gradients", "2-norm, mean over the steps", true, nil,
		curve{"gradient norm", green, nil, draw.TriangleGlyph{}, func(m checkpoint.EpochMetrics) *float64 { return &m.GradNorm }},
	)
}

func percent(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return new(100 * *v)
}

// curvePlot draws curves over the epochs. mayLog allows a logarithmic axis where a linear one would show nothing of the
// later epochs. limits are the least and the greatest possible value, if there are such.
func (r *Report) curvePlot(title, unit string, mayLog bool, limits []float64, curves ...curve) (*plot.Plot, error) {
	p := newPlot(title, "epoch", unit)
	p.Add(gridLines())
	var all []float64
	for _, c := range curves {
		points := r.points(c)
		for _, xy := range points {
			all = append(all, xy.Y)
		}
	}
	logarithmic := mayLog && needsLog(all)
	if limits != nil { // what has limits rises: keep the legend off it
		p.Legend.Top, p.Legend.YOffs = false, 10
	}
	setRange(&p.Y, all, logarithmic, limits)
	lo, hi := p.Y.Min, p.Y.Max
	for _, c := range curves {
		points := r.points(c)
		for i := range points {
			if logarithmic {
				points[i].Y = math.Log10(points[i].Y)
			}
			points[i].Y = min(max(points[i].Y, lo), hi) // what is outside runs along the border
		}
		if err := addCurve(p, c, thinned(points)); err != nil {
			return nil, err
		}
	}
	p.Y.Min, p.Y.Max = lo, hi // adding has widened it
	if len(curves) == 1 {
		p.Legend = plot.NewLegend()
	}
	p.X.Tick.Marker = linearTicks{least: 1}
	p.X.Min, p.X.Max = 1, float64(r.History[len(r.History)-1].Epoch)
	if p.X.Max == 1 {
		p.X.Min, p.X.Max = 0, 2
	}
	return p, nil
}

// points of a curve: the epochs that have its value.
func (r *Report) points(c curve) (points plotter.XYs) {
	for _, m := range r.History {
		if v := c.value(m); v != nil {
			points = append(points, plotter.XY{X: float64(m.Epoch), Y: *v})
		}
	}
	return points
}

// thinned keeps of many points the lowest and the highest of each of 500 stretches, which is all that a picture can show.
func thinned(points plotter.XYs) plotter.XYs {
	const stretches = 500
	if len(points) <= 2*stretches {
		return points
	}
	var kept plotter.XYs
	for i := range stretches {
		stretch := points[i*len(points)/stretches : (i+1)*len(points)/stretches]
		low, high := 0, 0
		for j, p := range stretch {
			if p.Y < stretch[low].Y {
				low = j
			}
			if p.Y > stretch[high].Y {
				high = j
			}
		}
		kept = append(kept, stretch[min(low, high)])
		if low != high {
			kept = append(kept, stretch[max(low, high)])
		}
	}
	return kept
}

func addCurve(p *plot.Plot, c curve, points plotter.XYs) error {
	if len(points) == 0 {
		return nil
	}
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: c.color, Width: 1.6, Dashes: c.dashes}
	p.Add(line)
	const few = 40 // so many points can be told apart
	if len(points) > few {
		p.Legend.Add(c.name, line)
		return nil
	}
	marks.GlyphStyle = draw.GlyphStyle{Color: c.color, Radius: 2.4, Shape: c.mark}
	p.Add(marks)
	p.Legend.Add(c.name, line, marks)
	return nil
}

// needsLog says whether a few values are so large that a linear axis would press the others together.
func needsLog(values []float64) bool {
	const outlier = 10
	middle := median(values)
	return middle > 0 && slices.Max(values) > outlier*middle
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// setRange lets an axis show all values with a little room, and no impossible ones. A logarithmic axis is one of the
// logarithms to base 10, since the library misplaces the label of its own.
func setRange(axis *plot.Axis, values []float64, logarithmic bool, limits []float64) {
	if logarithmic {
		const decades, room = 4, 0.07 // on either side of the median
		middle := math.Log10(median(values))
		axis.Min = max(math.Log10(slices.Min(values)), middle-decades) - room
		axis.Max = min(math.Log10(slices.Max(values)), middle+decades) + room
		axis.Tick.Marker = logTicks{}
		axis.Label.Text += " (log scale)"
		return
	}
	lo, hi := slices.Min(values), slices.Max(values)
	room := (hi - lo) / 15
	if room == 0 {
		room = math.Max(math.Abs(hi)/10, 1e-6)
	}
	least, greatest := 0.0, math.Inf(1)
	if limits != nil {
		least, greatest = limits[0], limits[1]
	}
	if lo-room < least || (limits == nil && lo < hi/2) {
		axis.Min = least
	} else {
		axis.Min = lo - room
	}
	axis.Max = math.Min(hi+room, greatest)
}
