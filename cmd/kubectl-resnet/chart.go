package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/guptarohit/asciigraph"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// curve is a line of a chart, by steps or epochs that need not be evenly spaced.
type curve struct {
	name string
	x, y []float64
}

// chart draws curves into width×height characters, its axes included; "" without two different places on the x-axis.
func chart(title, unit string, curves []curve, width, height int, format func(float64) string, colors bool) string {
	first, last := math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, x := range c.x {
			first, last = min(first, x), max(last, x)
		}
	}
	if !(first < last) {
		return ""
	}
	columns := max(10, width-axis)
	var data [][]float64
	var names []string
	for _, c := range curves {
		if len(c.x) > 0 {
			data, names = append(data, sample(c, first, last, columns)), append(names, c.name)
		}
	}
	options := []asciigraph.Option{asciigraph.Height(max(3, height-4)), asciigraph.XAxisRange(first, last),
		asciigraph.XAxisTickCount(3), asciigraph.XAxisValueFormatter(func(x float64) string { return fmt.Sprintf("%s %.0f", unit, x) }),
		asciigraph.YAxisValueFormatter(format), asciigraph.SeriesChars(marks(len(names))...)}
	for i, name := range names {
		mark := marks(len(names))[i].Horizontal + " " + name
		if colors {
			mark = palette[i%len(palette)].String() + mark + asciigraph.Default.String()
		}
		if len(names) > 1 {
			title += "   " + mark
		}
	}
	if colors {
		options = append(options, asciigraph.SeriesColors(palette...))
	}
	return title + "\n" + strings.TrimRight(asciigraph.PlotMany(data, options...), "\n") + "\n"
}

// axis is the room for the numbers at the left, and for those below that reach over the right end.
const axis = 16

// palette is told apart by the colour-blind (Okabe and Ito), as far as terminals have these colours.
var palette = []asciigraph.AnsiColor{asciigraph.DodgerBlue, asciigraph.Orange, asciigraph.MediumSeaGreen, asciigraph.Orchid,
	asciigraph.Gold, asciigraph.SkyBlue}

// marks tell lines apart, also where there are no colours.
func marks(n int) []asciigraph.CharSet {
	sets := make([]asciigraph.CharSet, n)
	for i := range sets {
		if sets[i] = asciigraph.DefaultCharSet; i > 0 {
			sets[i] = asciigraph.CreateCharSet(string("*+ox#@"[(i-1)%6]))
		}
	}
	return sets
}

// sample gives the curve at evenly spaced places: the mean of the points around each, and between points what a straight
// line has there. NaN, which is not drawn, before its first point and after its last.
func sample(c curve, first, last float64, n int) []float64 {
	out := make([]float64, n)
	step := (last - first) / float64(n-1)
	for i := range out {
		x := first + float64(i)*step
		sum, count := 0.0, 0
		for j := range c.x {
			if math.Abs(c.x[j]-x) <= step/2 {
				sum, count = sum+c.y[j], count+1
			}
		}
		if count > 0 {
			out[i] = sum / float64(count)
			continue
		}
		out[i] = between(c, x)
	}
	return out
}

func between(c curve, x float64) float64 {
	for j := 1; j < len(c.x); j++ {
		if a, b := c.x[j-1], c.x[j]; a <= x && x <= b && a < b {
			return c.y[j-1] + (c.y[j]-c.y[j-1])*(x-a)/(b-a)
		}
	}
	return math.NaN()
}

// lossCurves are those of the steps, and of the test images after each epoch.
func lossCurves(h *contract.History) []curve {
	train, test := curve{name: "training"}, curve{name: "test"}
	for _, p := range h.Steps {
		train.x, train.y = append(train.x, float64(p.Step)), append(train.y, p.Loss)
	}
	for _, m := range h.Epochs {
		if len(h.Steps) == 0 {
			train.x, train.y = append(train.x, float64(m.Step)), append(train.y, m.TrainLoss)
		}
		if m.TestLoss != nil {
			test.x, test.y = append(test.x, float64(m.Step)), append(test.y, *m.TestLoss)
		}
	}
	return []curve{train, test}
}

func accuracyCurves(h *contract.History) []curve {
	test, validation := curve{name: "test"}, curve{name: "validation"}
	for _, m := range h.Epochs {
		if m.Accuracy != nil {
			test.x, test.y = append(test.x, float64(m.Epoch)), append(test.y, 100**m.Accuracy)
		}
		if m.ValidationAccuracy != nil {
			validation.x, validation.y = append(validation.x, float64(m.Epoch)), append(validation.y, 100**m.ValidationAccuracy)
		}
	}
	return []curve{test, validation}
}

func rateCurves(h *contract.History) []curve {
	lr := curve{name: "learning rate"}
	for _, p := range h.Steps {
		lr.x, lr.y = append(lr.x, float64(p.Step)), append(lr.y, p.LR)
	}
	return []curve{lr}
}

func plain(x float64) string   { return fmt.Sprintf("%8.4g", x) }
func percent(x float64) string { return fmt.Sprintf("%7.4g%%", x) }
