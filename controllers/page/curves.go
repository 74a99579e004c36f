package page

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

type point struct{ x, y float64 }

// line is one of a picture. That of epochs has a mark for each.
type line struct {
	name, class string
	marks       bool
	points      []point
}

// curves are pictures of what happened step by step. Everything in them is a number or a word of our own.
func curves(h *contract.History) (all []template.HTML) {
	steps := func(name string, value func(m contract.StepMetrics) float64) line {
		l := line{name: name, class: "steps"}
		for _, m := range h.Steps {
			l.points = append(l.points, point{float64(m.Step), value(m)})
		}
		return l
	}
	epochs := func(name string, scale float64, value func(m contract.EpochMetrics) *float64) line {
		l := line{name: name, class: "epochs", marks: true}
		for _, m := range h.Epochs {
			if v := value(m); v != nil {
				l.points = append(l.points, point{float64(m.Step), scale * *v})
			}
		}
		return l
	}
	for _, c := range []struct {
		title, unit string
		lines       []line
	}{
		{"Loss", "", []line{
			steps("training", func(m contract.StepMetrics) float64 { return m.Loss }),
			epochs("test", 1, func(m contract.EpochMetrics) *float64 { return m.TestLoss }),
		}},
		{"Test accuracy", " %", []line{epochs("", 100, func(m contract.EpochMetrics) *float64 { return m.Accuracy })}},
		{"Learning rate", "", []line{steps("", func(m contract.StepMetrics) float64 { return m.LR })}},
		{"Images per second", "", []line{steps("", func(m contract.StepMetrics) float64 { return m.ImagesPerSecond })}},
	} {
		if picture := draw(c.title, c.unit, c.lines); picture != "" {
			all = append(all, picture)
		}
	}
	return all
}

// The picture, and the area of it within the axes.
const (
	width, height            = 360.0, 176.0
	left, right, top, bottom = 46.0, 350.0, 8.0, 144.0
)

// draw is a picture of lines over the steps; nothing without a point, or with values that no axis can hold.
func draw(title, unit string, lines []line) template.HTML {
	lo, hi, last := math.Inf(1), math.Inf(-1), 4.0
	for _, l := range lines {
		for _, p := range l.points {
			lo, hi, last = min(lo, p.y), max(hi, p.y), max(last, p.x)
		}
	}
	if hi == lo { // in the middle
		lo, hi = lo-max(math.Abs(lo)/2, 1e-9), hi+max(math.Abs(hi)/2, 1e-9)
	}
	if span := hi - lo; span < 0 || math.IsInf(span, 0) {
		return ""
	}
	x := func(step float64) float64 { return left + (right-left)*step/last }
	y := func(value float64) float64 { return bottom - (bottom-top)*(value-lo)/(hi-lo) }
	var caption, label, body strings.Builder
	for _, v := range ticks(lo, hi, 4) {
		fmt.Fprintf(&body, `<path class="grid" d="M%.0f %.1fH%.0f"/><text x="%.0f" y="%.1f" text-anchor="end">%.4g</text>`,
			left, y(v), right, left-6, y(v)+4, v)
	}
	for _, v := range ticks(0, last, 4) {
		fmt.Fprintf(&body, `<text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`, x(v), bottom+16, humanize.Commaf(v))
	}
	fmt.Fprintf(&body, `<text x="%.0f" y="%.0f" text-anchor="end">step</text>`, right, bottom+30)
	for _, l := range lines {
		if len(l.points) == 0 {
			continue
		}
		var path strings.Builder
		for _, p := range l.points {
			fmt.Fprintf(&path, "%.1f,%.1f ", x(p.x), y(p.y))
		}
		fmt.Fprintf(&body, `<polyline class="%s" points="%s"/>`, l.class, strings.TrimSpace(path.String()))
		if l.marks && len(l.points) <= maxMarks {
			for _, p := range l.points {
				fmt.Fprintf(&body, `<circle cx="%.1f" cy="%.1f" r="2.5"><title>step %.0f: %.4g%s</title></circle>`,
					x(p.x), y(p.y), p.x, p.y, unit)
			}
		}
		end := l.points[len(l.points)-1]
		fmt.Fprintf(&caption, ` <span class="%s">%s <b>%.4g%s</b></span>`, l.class, l.name, end.y, unit)
		fmt.Fprintf(&label, "; %s %.4g%s at step %.0f", l.name, end.y, unit, end.x)
	}
	return template.HTML(fmt.Sprintf(`<figure><figcaption>%s%s</figcaption>`+
		`<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%[1]s%[5]s">%[6]s</svg></figure>`,
		title, caption.String(), width, height, label.String(), body.String()))
}

// maxMarks is how many epochs can be told apart.
const maxMarks = 60

// ticks are round numbers between lo and hi, about n.
func ticks(lo, hi float64, n int) (all []float64) {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n))))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(factor*step) <= float64(n) {
			step *= factor
			break
		}
	}
	first := math.Ceil(lo/step - 1e-9)
	for i := range n + 1 {
		if v := (first + float64(i)) * step; v <= hi+1e-9*step {
			all = append(all, v)
		}
	}
	return all
}

// why a job is not where it should be: the message of the condition that says so; "" if all is well.
func why(job *v1.ResNetTrainingJob) string {
	if job.Status.State == v1.StateRunning || job.Status.State == v1.StateSucceeded {
		return ""
	}
	if c := job.Status.Explanation(); c != nil {
		return contract.Line(c.Message)
	}
	return ""
}

// count of the jobs in words: 3 jobs: 1 Running, 2 Succeeded.
func count(jobs []v1.ResNetTrainingJob) string {
	states := map[v1.State]int{}
	for i := range jobs {
		states[jobs[i].Status.State]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], cmp.Or(string(state), "new")))
	}
	if len(jobs) == 1 {
		return "1 job: " + parts[0]
	}
	return fmt.Sprintf("%s jobs: %s", humanize.Comma(int64(len(jobs))), strings.Join(parts, ", "))
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

// age of a moment, as kubectl writes it; "" of one that is not known.
func age(now time.Time, at metav1.Time) string {
	if at.IsZero() {
		return ""
	}
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
