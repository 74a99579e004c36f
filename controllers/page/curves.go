package page

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

type point struct{ x, y float64 }

// curves are pictures of what happened step by step. Everything in them is a number or a word of our own.
func curves(h *contract.History) (all []template.HTML) {
	steps := func(value func(m contract.StepMetrics) float64) (points []point) {
		for _, m := range h.Steps {
			points = append(points, point{float64(m.Step), value(m)})
		}
		return points
	}
	epochs := func(value func(m contract.EpochMetrics) *float64) (points []point) {
		for _, m := range h.Epochs {
			if v := value(m); v != nil {
				points = append(points, point{float64(m.Step), *v})
			}
		}
		return points
	}
	for _, c := range []struct {
		title  string
		points []point
	}{
		{"Training loss", steps(func(m contract.StepMetrics) float64 { return m.Loss })},
		{"Test loss", epochs(func(m contract.EpochMetrics) *float64 { return m.TestLoss })},
		{"Test accuracy", epochs(func(m contract.EpochMetrics) *float64 { return m.Accuracy })},
		{"Learning rate", steps(func(m contract.StepMetrics) float64 { return m.LR })},
		{"Images per second", steps(func(m contract.StepMetrics) float64 { return m.ImagesPerSecond })},
	} {
		if len(c.points) > 0 {
			all = append(all, curve(c.title, c.points))
		}
	}
	return all
}

// curve is a picture of 300×120 with its limits written at it.
func curve(title string, points []point) template.HTML {
	const width, height = 300.0, 120.0
	lo, hi, last := math.Inf(1), math.Inf(-1), 1.0
	for _, p := range points {
		lo, hi, last = min(lo, p.y), max(hi, p.y), max(last, p.x)
	}
	bottom, span := lo, hi-lo
	if span == 0 { // in the middle
		bottom, span = lo-0.5, 1
	}
	var line strings.Builder
	for _, p := range points {
		fmt.Fprintf(&line, "%.1f,%.1f ", width*p.x/last, height-height*(p.y-bottom)/span)
	}
	label := fmt.Sprintf("%s: %.4g at step %.0f, from %.4g to %.4g", title, points[len(points)-1].y, last, lo, hi)
	return template.HTML(fmt.Sprintf(`<figure><figcaption>%s <b>%.4g</b></figcaption>`+
		`<svg viewBox="-4 -6 308 132" role="img" aria-label="%s"><polyline points="%s"/></svg>`+
		`<p class="note">%.4g to %.4g, step %.0f</p></figure>`,
		title, points[len(points)-1].y, label, strings.TrimSpace(line.String()), lo, hi, last))
}

func isOf(job *v1.ResNetTrainingJob) func(metav1.OwnerReference) bool {
	return func(r metav1.OwnerReference) bool { return r.UID == job.UID }
}

// percent and number of what may not be known.
func percent(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100**v)
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', 4, 64)
}

// age of a moment, as kubectl writes it.
func age(now time.Time, at metav1.Time) string {
	d := now.Sub(at.Time)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
