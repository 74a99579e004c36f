package report

import (
	"math"
	"strings"
	"testing"
)

// TestWilson compares with statsmodels' proportion_confint(method="wilson").
func TestWilson(t *testing.T) {
	for _, test := range []struct {
		share  float64
		n      int
		lo, hi float64
	}{
		{0.9, 1000, 0.8798, 0.9171},
		{0.5, 10, 0.2366, 0.7634},
		{1, 100, 0.9630, 1},
		{0, 20, 0, 0.1611},
	} {
		lo, hi := wilson(test.share, test.n)
		if math.Abs(lo-test.lo) > 1e-4 || math.Abs(hi-test.hi) > 1e-4 {
			t.Errorf("%g of %d: %.4f–%.4f, want %.4f–%.4f", test.share, test.n, lo, hi, test.lo, test.hi)
		}
	}
}

func TestFindings(t *testing.T) {
	for name, test := range map[string]struct {
		change func(r *Report)
		want   map[string]string
	}{
		"held-out images": {func(*Report) {}, map[string]string{
			"Accuracy":      "chosen by validation accuracy",
			"Weakest class": "Ankle boot is recognised least: 76.00 % of its 100 images (67–83 %). It is taken for T-shirt/top most often: 12 images, 12.0 %.",
			"Data":          "Steps waited 1.2 % of the time",
			"Next step":     "Look at the images of Ankle boot",
		}},
		"no held-out images": {func(r *Report) { r.Data.Validation = 0 }, map[string]string{"Accuracy": "chosen by test accuracy itself"}},
		"overfits": {func(r *Report) {
			for i := range r.History {
				r.History[i].TestLoss = new(0.4 + 0.1*math.Abs(float64(i)-2))
			}
		}, map[string]string{"Overfitting": "overfits: the test loss was lowest, 0.4000, after epoch 3", "Next step": "Augment more"}},
		"far apart": {func(r *Report) {
			r.Spec.Training.LabelSmoothing = 0
			for i := range r.History {
				r.History[i].TestLoss = new(3.0)
			}
		}, map[string]string{"Overfitting": "The network overfits"}},
		"still improves": {func(r *Report) {
			for i := range r.History {
				r.History[i].TestLoss = new(1 / float64(i+1))
			}
		}, map[string]string{"Overfitting": "still falling", "Next step": "spec.training.epochs: 40"}},
		"waits": {func(r *Report) {
			for i := range r.History {
				r.History[i].DataWait = 0.3
			}
		}, map[string]string{"Data": "30.0 % of the time for images. Augmenting them is the bottleneck", "Next step": "spec.resources.cpu"}},
		"diverged":     {func(r *Report) { r.Training.State, r.Training.Diverged = StateStopped, true }, map[string]string{"Next step": "Lower spec.training.schedule.maxLR"}},
		"stopped":      {func(r *Report) { r.Training.State = StateStopped }, map[string]string{"Next step": "goes on from there"}},
		"under way":    {func(r *Report) { r.Training.State = StateTraining }, map[string]string{"Next step": "Wait"}},
		"no confusion": {func(r *Report) { r.Evaluation.Confusion = nil }, map[string]string{"Weakest class": "", "Next step": "more images"}},
		"perfect": {func(r *Report) {
			for i, row := range r.Evaluation.Confusion {
				clear(row)
				row[i] = 100
			}
			r.Evaluation.Accuracy = 1
		}, map[string]string{"Weakest class": "", "Next step": "Use it"}},
		"nothing": {func(r *Report) { r.History, r.Evaluation, r.Steps = nil, nil, nil }, map[string]string{"Accuracy": "", "Overfitting": "", "Next step": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testReport(20)
			r.Training.State = StateDone
			for i := range r.History {
				r.History[i].TestLoss = new(0.25)
			}
			test.change(r)
			r.Complete()
			got := map[string]string{}
			for _, f := range r.findings() {
				got[f.Title] = f.Text
			}
			for title, want := range test.want {
				if want == "" && got[title] != "" || !strings.Contains(got[title], want) {
					t.Errorf("%s: %q, want %q", title, got[title], want)
				}
			}
		})
	}
}

// TestTop5OnlyWithManyClasses: of ten classes half are among five.
func TestTop5OnlyWithManyClasses(t *testing.T) {
	for classes, shown := range map[int]bool{10: false, 19: false, 20: true} {
		r := testReport(3)
		for len(r.Data.Classes) < classes {
			r.Data.Classes = append(r.Data.Classes, "more")
		}
		r.Evaluation = testEvaluation(classes)
		r.Complete()
		page := strings.ToLower(string(pageOf(t, r)))
		for _, word := range []string{"top-5 %", "top-5 accuracy", ", top-5 ", "top 5"} {
			if strings.Contains(page, word) != shown {
				t.Errorf("%d classes, %q shown: %v", classes, word, !shown)
			}
		}
	}
}
