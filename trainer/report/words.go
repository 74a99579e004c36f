package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// headline says in a sentence what was reached, and how.
func (r *Report) headline() string {
	network := fmt.Sprintf("%s on %s", r.Spec.Model.Architecture, r.Data.Name)
	text := network + ": no epoch done."
	if last := r.last(); last.Tested() {
		text = fmt.Sprintf("%s: %s of the %s test images recognised after %s in %s.", network, Percent(*last.Accuracy),
			thousands(int64(r.Data.Test)), count(int64(last.Epoch), "epoch"), Duration(seconds(r.Training.Seconds)))
	} else if len(r.History) > 0 {
		text = fmt.Sprintf("%s: not tested yet after %s.", network, count(int64(r.Training.Epochs), "epoch"))
	}
	switch r.Training.State {
	case StateTraining:
		text += " The training goes on."
	case StateStopped:
		text += " It ended early: " + r.Training.Error
	}
	return text
}

// tiles are the numbers on top.
func (r *Report) tiles() []tile {
	last, best := r.last(), r.best()
	if !last.Tested() {
		return nil
	}
	tiles := []tile{{"Test accuracy", Percent(*last.Accuracy), "after the last epoch"}}
	if e := r.Evaluation; e != nil && e.Images > 0 {
		lo, hi := wilson(*last.Accuracy, e.Images)
		tiles[0].Note = fmt.Sprintf("last epoch; %.1f–%.1f\u00a0%%", 100*lo, 100*hi)
	}
	if best.Epoch > 0 {
		tiles = append(tiles, tile{"Best epoch", Percent(testAccuracy(best)), fmt.Sprintf("epoch %d, %s", best.Epoch, r.bestBy())})
	}
	if last.Quantized() {
		tiles = append(tiles, tile{"In int8", Percent(*last.Int8Accuracy), "test accuracy, quantised"},
			tile{"int8 agrees with float", Percent(*last.Int8Agreement), "of the test images"})
	}
	if top5 := r.top5(last.Top5Accuracy); top5 != nil {
		tiles = append(tiles, tile{"Top-5 accuracy", Percent(*top5), "after the last epoch"})
	}
	if last.FlipTTAAccuracy != nil {
		tiles = append(tiles, tile{"With flip TTA", Percent(*last.FlipTTAAccuracy), "after the last epoch"})
	}
	return append(tiles,
		tile{"Test loss", fmt.Sprintf("%.4f", value(last.TestLoss)), fmt.Sprintf("training loss %.4f", last.TrainLoss)},
		tile{"Time", Duration(seconds(r.Training.Seconds)), "evaluations included"},
		tile{"Throughput", thousands(int64(r.Training.ImagesPerSecond+0.5)) + "/s", "training images"})
}

func (r *Report) bestBy() string {
	by := "by test accuracy"
	if r.Data.Validation > 0 {
		by = "by validation accuracy"
	}
	if r.best().Quantized() {
		by += " in int8"
	}
	return by
}

// testAccuracy is that of the network that an epoch is judged by: the quantised one, once there is one.
func testAccuracy(m checkpoint.EpochMetrics) float64 {
	if m.Quantized() {
		return *m.Int8Accuracy
	}
	return value(m.Accuracy)
}

// leastTop5 is the number of classes from which on the top-5 accuracy says something: of ten, half are among five.
const leastTop5 = 20

// top5 is v where it says something, else nil.
func (r *Report) top5(v *float64) *float64 {
	if len(r.Data.Classes) < leastTop5 {
		return nil
	}
	return v
}

func (r *Report) evaluationText() string {
	e := r.Evaluation
	text := fmt.Sprintf("%s test images: loss %.4f, accuracy %s", thousands(int64(e.Images)), e.Loss, Percent(e.Accuracy))
	if top5 := r.top5(e.Top5Accuracy); top5 != nil {
		text += ", top-5 " + Percent(*top5)
	}
	if e.FlipTTAAccuracy != nil {
		text += ", with flip TTA " + Percent(*e.FlipTTAAccuracy)
	}
	if e.Weights != "" {
		text += " (weights: " + e.Weights + ")"
	}
	return text + "."
}

const top5Column = "top-5 %"

// epochColumns are the columns of the table of epochs.
var epochColumns = []struct {
	name string
	text func(m checkpoint.EpochMetrics) string
}{
	{"epoch", func(m checkpoint.EpochMetrics) string { return strconv.Itoa(int(m.Epoch)) }},
	{"train loss", func(m checkpoint.EpochMetrics) string { return fmt.Sprintf("%.4f", m.TrainLoss) }},
	{"val. loss", func(m checkpoint.EpochMetrics) string { return optional("%.4f", m.ValidationLoss, 1) }},
	{"test loss", func(m checkpoint.EpochMetrics) string { return optional("%.4f", m.TestLoss, 1) }},
	{"val. %", func(m checkpoint.EpochMetrics) string { return optional("%.2f", m.ValidationAccuracy, 100) }},
	{"test %", func(m checkpoint.EpochMetrics) string { return optional("%.2f", m.Accuracy, 100) }},
	{"int8 %", func(m checkpoint.EpochMetrics) string { return optional("%.2f", m.Int8Accuracy, 100) }},
	{"int8 agrees %", func(m checkpoint.EpochMetrics) string { return optional("%.2f", m.Int8Agreement, 100) }},
	{top5Column, func(m checkpoint.EpochMetrics) string { return optional("%.2f", m.Top5Accuracy, 100) }},
	{"flip TTA %", func(m checkpoint.EpochMetrics) string { return optional("%.2f", m.FlipTTAAccuracy, 100) }},
	{"lr", func(m checkpoint.EpochMetrics) string { return fmt.Sprintf("%.3g", m.LR) }},
	{"grad norm", func(m checkpoint.EpochMetrics) string { return fmt.Sprintf("%.3g", m.GradNorm) }},
	{"loss scale", func(m checkpoint.EpochMetrics) string { return optional("%.0f", m.LossScale, 1) }},
	{"images/s", func(m checkpoint.EpochMetrics) string { return fmt.Sprintf("%.0f", m.ImagesPerSecond) }},
	{"data wait %", func(m checkpoint.EpochMetrics) string { return fmt.Sprintf("%.1f", 100*m.DataWait) }},
	{"memory", func(m checkpoint.EpochMetrics) string { return bytesText(m.MemoryBytes) }},
	{"seconds", func(m checkpoint.EpochMetrics) string { return fmt.Sprintf("%.1f", m.Seconds) }},
}

func optional(format string, v *float64, scale float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, scale**v)
}

// factGroup is a titled list of names and values.
type factGroup struct {
	Title string
	Rows  []factRow
}

type factRow struct{ Name, Value string }

// facts about the run, group by group. Empty values are left out.
func (r *Report) facts() []factGroup {
	groups := []factGroup{
		{"Recipe", r.recipe()},
		{"Network", []factRow{
			{"architecture", string(r.Spec.Model.Architecture)},
			{"stem", string(r.Spec.Model.Stem)},
			{"width", ifNot(r.Spec.Model.WidthMultiplier, 1, "×%g")},
			{"normalisation", string(r.Spec.Model.Normalization)},
			{"activation", string(r.Spec.Model.Activation)},
			{"parameters", ifNot(r.Model.Parameters, 0, "%d")},
		}},
		{"Data", []factRow{
			{"data set", r.Data.Name},
			{"from", r.Spec.Dataset.URI},
			{"training images", thousands(int64(r.Data.Train))},
			{"validation images", ifNot(r.Data.Validation, 0, "%d")},
			{"test images", thousands(int64(r.Data.Test))},
			{"image size", fmt.Sprintf("%d×%d, %s", r.Data.Width, r.Data.Height, count(int64(r.Data.Channels), "channel"))},
			{"classes", strconv.Itoa(len(r.Data.Classes))},
		}},
		{"Machine and versions", []factRow{
			{"device", strings.TrimPrefix(r.Hardware.Device+", "+r.Hardware.DeviceName, ", ")},
			{"threads", ifNot(r.Hardware.Threads, 0, "%d")},
			{"precision", r.Hardware.Precision},
			{"peak memory", bytesText(r.Training.MemoryBytes)},
			{"attempts", strconv.Itoa(int(r.Training.Attempts))},
			{"trainer", r.Versions.Trainer},
			{"libtorch", r.Versions.Libtorch},
			{"Go", strings.TrimPrefix(r.Versions.Go, "go")},
		}},
		{"Results", []factRow{
			{"folder", r.Artifacts.Root},
			{"model", r.Artifacts.Model},
			{"metrics", r.Artifacts.Metrics},
		}},
	}
	for i := range groups {
		var rows []factRow
		for _, row := range groups[i].Rows {
			if row.Value != "" {
				rows = append(rows, row)
			}
		}
		groups[i].Rows = rows
	}
	return groups
}

// recipe is how the network was trained, in a few lines; the spec below it has everything.
func (r *Report) recipe() []factRow {
	t := r.Spec.Training
	return []factRow{
		{"epochs", strconv.Itoa(int(t.Epochs)) + earlier(t.Epochs, r.Training)},
		{"steps", thousands(r.Training.Steps)},
		{"batch size", strconv.Itoa(int(t.BatchSize))},
		{"optimiser", optimizerText(t.Optimizer)},
		{"schedule", scheduleText(t.Schedule, t.Optimizer)},
		{"label smoothing", ifNot(t.LabelSmoothing, 0, "%g")},
		{"gradient clipping", optional("2-norm %g", t.ClipGradNorm, 1)},
		{"weight average", emaText(t.EMA)},
		{"augmentation", augmentationText(t.Augmentation)},
		{"seed", strconv.FormatInt(t.Seed, 10)},
	}
}

func earlier(planned int32, t Training) string {
	switch {
	case t.Epochs >= planned:
		return ""
	case t.State == StateTraining:
		return fmt.Sprintf(", %d done", t.Epochs)
	}
	return fmt.Sprintf(", stopped after %d", t.Epochs)
}

func optimizerText(o v1.OptimizerSpec) string {
	text := string(o.Type)
	if o.Type == v1.SGD && o.Momentum != nil {
		text += fmt.Sprintf(", momentum %g", *o.Momentum)
	}
	if o.Nesterov != nil && *o.Nesterov {
		text += ", Nesterov"
	}
	if o.Type == v1.AdamW && len(o.Betas) == 2 {
		text += fmt.Sprintf(", betas %g and %g", o.Betas[0], o.Betas[1])
	}
	return text + optional(", weight decay %g", o.WeightDecay, 1)
}

func scheduleText(s v1.ScheduleSpec, o v1.OptimizerSpec) string {
	text := string(s.Type)
	if s.Type == v1.OneCycle {
		return text + fmt.Sprintf(", peak %g", s.MaxLR)
	}
	text += optional(", from %g", o.LR, 1)
	if s.Type == v1.Cosine && s.MinLR != nil {
		text += fmt.Sprintf(" to %g", *s.MinLR)
	}
	if len(s.Milestones) > 0 {
		text += fmt.Sprintf(", milestones %v", s.Milestones) + optional(" × %g", s.Gamma, 1)
	}
	if s.WarmupEpochs > 0 {
		text += fmt.Sprintf(", warm-up %g epochs", s.WarmupEpochs)
	}
	return text
}

func emaText(e *v1.EMASpec) string {
	if e == nil {
		return ""
	}
	return "EMA" + optional(", decay %g", e.Decay, 1)
}

func augmentationText(a v1.AugmentationSpec) string {
	var parts []string
	if a.Policy != "" && a.Policy != v1.PolicyNone {
		parts = append(parts, string(a.Policy))
	}
	if a.RandomResizedCrop != nil {
		parts = append(parts, "random resized crop")
	} else if a.RandomCropPadding != nil && *a.RandomCropPadding > 0 {
		parts = append(parts, fmt.Sprintf("random crop, padding %d %s", *a.RandomCropPadding, strings.ToLower(string(a.PaddingMode))))
	}
	if a.HorizontalFlip != nil && *a.HorizontalFlip {
		parts = append(parts, "horizontal flip")
	}
	if a.ColorJitter != nil {
		parts = append(parts, "colour jitter")
	}
	if a.RandomErasing != nil {
		parts = append(parts, "random erasing")
	}
	if a.Cutout > 0 {
		parts = append(parts, fmt.Sprintf("cutout %d", a.Cutout))
	}
	if a.MixUp != nil {
		parts = append(parts, "MixUp")
	}
	if a.CutMix != nil {
		parts = append(parts, "CutMix")
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.TrimSpace(strings.Join(parts, ", "))
}

// ifNot is v as text, "" if it is not worth a word: zero, or what everybody expects.
func ifNot[T comparable](v, not T, format string) string {
	var zero T
	if v == not || v == zero {
		return ""
	}
	switch n := any(v).(type) {
	case int:
		return thousands(int64(n))
	case int64:
		return thousands(n)
	}
	return fmt.Sprintf(format, v)
}

// Percent of a share in [0, 1], as 93.21 %.
func Percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// Duration as people say it: 12 s, 3 min 20 s, 2 h 5 min.
func Duration(d time.Duration) string {
	s := int64(d.Round(time.Second).Seconds())
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
	}
}

// count is a number with its noun.
func count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(n) + " " + noun
}

// thousands writes 12345 as 12,345.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func bytesText(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 1<<30:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}
