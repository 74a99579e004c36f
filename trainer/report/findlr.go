package report

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// LRPoint is a step of a learning rate range test.
type LRPoint struct{ LR, Loss, Smoothed float64 }

// LRPicture shows a range test and, if it is not 0, the suggested learning rate.
func LRPicture(points []LRPoint, suggestion float64) Picture {
	return Picture{Name: "find-lr", Title: "Learning rate range test", width: 460, height: 300, build: func() (*plot.Plot, error) {
		return lrPlot(points, suggestion)
	}}
}

func lrPlot(points []LRPoint, suggestion float64) (*plot.Plot, error) {
	p := newPlot("Learning rate range test", "learning rate (log scale)", "cross-entropy")
	p.Add(gridLines())
	p.X.Tick.Marker = logTicks{}
	p.Legend.Left, p.Legend.XOffs = true, 8
	p.Legend.Top, p.Legend.YOffs = false, 10
	raw, smoothed := plotter.XYs{}, plotter.XYs{}
	losses := []float64{}
	for _, q := range points {
		if q.LR <= 0 || !isFinite(q.Loss) || !isFinite(q.Smoothed) {
			continue
		}
		raw = append(raw, plotter.XY{X: math.Log10(q.LR), Y: q.Loss})
		smoothed = append(smoothed, plotter.XY{X: math.Log10(q.LR), Y: q.Smoothed})
		losses = append(losses, q.Smoothed)
	}
	if len(raw) == 0 {
		return p, nil
	}
	setRange(&p.Y, losses, false, nil)
	p.Y.Max = min(p.Y.Max, 2*slices.Max(losses[:(len(losses)+1)/2])) // what explodes shall not press the rest together
	lo, hi := p.Y.Min, p.Y.Max
	for i := range raw {
		raw[i].Y, smoothed[i].Y = min(max(raw[i].Y, lo), hi), min(max(smoothed[i].Y, lo), hi)
	}
	for _, c := range []struct {
		name   string
		points plotter.XYs
		style  draw.LineStyle
	}{
		{"loss", raw, draw.LineStyle{Color: vermillion, Width: 0.8, Dashes: []vg.Length{3, 2}}},
		{"smoothed", smoothed, draw.LineStyle{Color: blue, Width: 2}},
		{fmt.Sprintf("suggestion: %.2g", suggestion), vertical(suggestion, lo, hi), draw.LineStyle{Color: green, Width: 1.4, Dashes: []vg.Length{6, 3}}},
	} {
		if len(c.points) == 0 {
			continue
		}
		line, err := plotter.NewLine(c.points)
		if err != nil {
			return nil, err
		}
		line.LineStyle = c.style
		p.Add(line)
		p.Legend.Add(c.name, line)
	}
	p.Y.Min, p.Y.Max = lo, hi
	return p, nil
}

// vertical line at a learning rate; none at 0.
func vertical(lr, lo, hi float64) plotter.XYs {
	if lr <= 0 {
		return nil
	}
	return plotter.XYs{{X: math.Log10(lr), Y: lo}, {X: math.Log10(lr), Y: hi}}
}
