package report

import (
	"image/color"
	"iter"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// curve is a line of a plot over the steps.
type curve struct {
	name   string
	color  color.RGBA
	dashes []vg.Length
	mark   draw.GlyphDrawer // of epochs; nil for what has a point for every few steps
	points plotter.XYs
}

// axes of a plot over the steps.
type axes struct {
	title, unit string
	// mayLog allows a logarithmic axis where a linear one would show nothing of the later steps.
	mayLog bool
	// limits are the least and the greatest possible value, if there are such.
	limits []float64
	// format of a value for people.
	format string
	curves []curve
	best   *plotter.XY // of an epoch
}

// Curves are the pictures of what happened step by step: loss, accuracy, learning rate, gradients and throughput.
func (r *Report) Curves() (pictures []Picture) {
	for name, a := range r.curves() {
		a.curves = slices.DeleteFunc(a.curves, func(c curve) bool { return len(c.points) == 0 })
		if len(a.curves) == 0 {
			continue
		}
		pictures = append(pictures, Picture{Name: name, Title: a.title + " by step", width: 460, height: 300,
			curves: a.curves, format: a.format, build: func() (*plot.Plot, error) { return r.curvePlot(a) }})
	}
	return pictures
}

// Records of an epoch, and of some steps.
type (
	epoch = checkpoint.EpochMetrics
	steps = contract.StepMetrics
)

// curves in the order in which they are shown, each with the name of its file.
func (r *Report) curves() iter.Seq2[string, axes] {
	long, short, dotted := []vg.Length{6, 3}, []vg.Length{2, 3}, []vg.Length{1, 2}
	of := r.epochCurve
	all := []struct {
		name string
		axes
	}{
		{"loss", axes{title: "Loss", unit: "cross-entropy", mayLog: true, format: "%.4f", curves: []curve{
			r.stepCurve("train, by step", faintBlue, func(m steps) float64 { return m.Loss }),
			of("train", blue, nil, draw.CircleGlyph{}, func(m epoch) *float64 { return &m.TrainLoss }),
			of("validation", green, short, draw.TriangleGlyph{}, func(m epoch) *float64 { return m.ValidationLoss }),
			of("test", vermillion, long, draw.SquareGlyph{}, func(m epoch) *float64 { return m.TestLoss }),
		}}},
		{"accuracy", axes{title: "Accuracy", unit: "accuracy (%)", limits: []float64{0, 100}, format: "%.2f %%", curves: []curve{
			of("test", vermillion, long, draw.SquareGlyph{}, func(m epoch) *float64 { return percent(m.Accuracy) }),
			of("test, int8", ink, []vg.Length{3, 1}, draw.CrossGlyph{},
				func(m epoch) *float64 { return percent(m.Int8Accuracy) }),
			of("test, flip TTA", purple, dotted, draw.PyramidGlyph{},
				func(m epoch) *float64 { return percent(m.FlipTTAAccuracy) }),
			of("test, top 5", blue, nil, draw.CircleGlyph{},
				func(m epoch) *float64 { return percent(r.top5(m.Top5Accuracy)) }),
			of("validation", green, short, draw.TriangleGlyph{},
				func(m epoch) *float64 { return percent(m.ValidationAccuracy) }),
		}, best: r.bestPoint()}},
		{"learning-rate", axes{title: "Learning rate", unit: "learning rate", format: "%.3g",
			mayLog: r.Spec.Training.Schedule.Type == v1.Step, curves: r.learningRateCurves()}},
		{"gradient-norm", axes{title: "Norm of the gradients", unit: "2-norm", mayLog: true, format: "%.3g", curves: []curve{
			r.stepCurve("by step", faintGreen, func(m steps) float64 { return m.GradNorm }),
			of("mean of the epoch", green, nil, draw.TriangleGlyph{},
				func(m epoch) *float64 { return positive(m.GradNorm) }),
		}}},
		{"throughput", axes{title: "Throughput", unit: "training images per second", mayLog: true, format: "%.0f/s", curves: []curve{
			r.stepCurve("of the epoch so far", faintBlue, func(m steps) float64 { return m.ImagesPerSecond }),
			of("mean of the epoch", blue, nil, draw.CircleGlyph{},
				func(m epoch) *float64 { return positive(m.ImagesPerSecond) }),
		}}},
	}
	return func(yield func(string, axes) bool) {
		for _, a := range all {
			if !yield(a.name, a.axes) {
				return
			}
		}
	}
}

// stepCurve has a point for every record within the epochs.
func (r *Report) stepCurve(name string, c color.RGBA, value func(m steps) float64) curve {
	points := make(plotter.XYs, len(r.Steps))
	for i, m := range r.Steps {
		points[i] = plotter.XY{X: float64(m.Step), Y: value(m)}
	}
	return curve{name, c, nil, nil, points}
}

// epochCurve has a point at the last step of each epoch that has the value.
func (r *Report) epochCurve(name string, c color.RGBA, dashes []vg.Length, mark draw.GlyphDrawer,
	value func(m epoch) *float64) curve {
	var points plotter.XYs
	for _, m := range r.History {
		if v := value(m); v != nil {
			points = append(points, plotter.XY{X: float64(m.Step), Y: *v})
		}
	}
	return curve{name, c, dashes, mark, points}
}

// learningRateCurves are what was used so far and, while there are steps left, what is planned.
func (r *Report) learningRateCurves() []curve {
	done := curve{"learning rate", blue, nil, nil, nil}
	planned := curve{"planned", blue, []vg.Length{2, 3}, nil, nil}
	for _, p := range r.Schedule {
		xy := plotter.XY{X: float64(p.Step), Y: p.LR}
		if p.Step <= r.Training.Steps {
			done.points = append(done.points, xy)
		} else if r.Training.State == StateTraining {
			planned.points = append(planned.points, xy)
		}
	}
	return []curve{done, planned}
}

func (r *Report) bestPoint() *plotter.XY {
	if best := r.best(); best.Epoch > 0 {
		return &plotter.XY{X: float64(best.Step), Y: 100 * testAccuracy(best)}
	}
	return nil
}

func percent(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return new(100 * *v)
}

// positive is v; nil if it is not known.
func positive(v float64) *float64 {
	if v <= 0 {
		return nil
	}
	return &v
}

// curvePlot draws curves over the steps.
func (r *Report) curvePlot(a axes) (*plot.Plot, error) {
	p := newPlot(a.title, "step", a.unit)
	p.Add(gridLines())
	var all []float64
	for _, c := range a.curves {
		for _, xy := range c.points {
			all = append(all, xy.Y)
		}
	}
	logarithmic := a.mayLog && needsLog(all)
	if a.limits != nil { // what has limits rises: keep the legend off it
		p.Legend.Top, p.Legend.YOffs = false, 10
	}
	setRange(&p.Y, all, logarithmic, a.limits)
	lo, hi := p.Y.Min, p.Y.Max
	last := 1.0
	for _, c := range a.curves {
		points := slices.Clone(c.points)
		last = max(last, points[len(points)-1].X)
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
	if a.best != nil {
		best, err := plotter.NewScatter(plotter.XYs{*a.best})
		if err != nil {
			return nil, err
		}
		best.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: 6, Shape: draw.RingGlyph{}}
		p.Add(best)
		p.Legend.Add("best epoch", best)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, last, lo, hi // adding has widened them
	if len(a.curves) == 1 {
		p.Legend = plot.NewLegend()
	}
	p.X.Tick.Marker = linearTicks{least: 1}
	return p, nil
}

// thinned keeps of many points the lowest and the highest of each of 500 stretches, which is all that a picture can
// show.
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
	if c.color == faintBlue || c.color == faintGreen { // single steps, behind the means
		line.Width = 0.9
	}
	p.Add(line)
	const few = 40 // so many points can be told apart
	if len(points) > few || c.mark == nil {
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
