package report

import (
	"fmt"
	"math"
	"slices"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// finding says in words what numbers mean.
type finding struct{ Title, Text string }

// findings about the run, the next step last.
func (r *Report) findings() (all []finding) {
	for _, f := range []func() *finding{r.accuracyFinding, r.weakestFinding, r.fitFinding, r.dataWaitFinding} {
		if found := f(); found != nil {
			all = append(all, *found)
		}
	}
	if next := r.nextStep(); next != "" {
		all = append(all, finding{"Next step", next})
	}
	return all
}

// wilson returns the interval of E. B. Wilson (1927) in which a share lies with 95 % confidence, when so many of n were
// right.
func wilson(share float64, n int) (lo, hi float64) {
	const z = 1.959964
	m := float64(n)
	center := (share + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(share*(1-share)/m+z*z/(4*m*m))
	return max(0, center-half), min(1, center+half)
}

func (r *Report) accuracyFinding() *finding {
	e := r.Evaluation
	if e == nil || e.Images == 0 {
		return nil
	}
	lo, hi := wilson(e.Accuracy, e.Images)
	text := fmt.Sprintf("%s of %s test images were recognised. With so many images the accuracy is known to "+
		"%.1f–%.1f %% (95 %% confidence): two runs that differ by less than about %s may be equally good.",
		Percent(e.Accuracy), thousands(int64(e.Images)), 100*lo, 100*hi, points((hi-lo)/math.Sqrt2))
	if best := r.best(); best.Epoch > 0 {
		if r.Data.Validation > 0 {
			text += " The best epoch was chosen by validation accuracy, so its test accuracy is unbiased."
		} else {
			text += " The best epoch was chosen by test accuracy itself, which flatters it a little: " +
				"spec.dataset.validationFraction holds out images to choose by."
		}
	}
	return &finding{"Accuracy", text}
}

// points is a difference of shares.
func points(d float64) string { return fmt.Sprintf("%.1f points", 100*d) }

// leastClass is the number of test images from which on something is said of a class.
const leastClass = 5

func (r *Report) weakestFinding() *finding {
	c, pair := r.weakest()
	if c == nil {
		return nil
	}
	lo, hi := wilson(c.Accuracy, int(c.Images))
	text := fmt.Sprintf("%s is recognised least: %s of its %s (%.0f–%.0f %%).", c.Name, Percent(c.Accuracy),
		count(c.Images, "image"), 100*lo, 100*hi)
	if pair != nil {
		text += fmt.Sprintf(" It is taken for %s most often: %s, %.1f %%.", pair.Predicted, count(pair.Images, "image"),
			100*pair.Share)
	}
	return &finding{"Weakest class", text}
}

// weakest class, and what it is taken for most often; nil if there is none, or no class has a mistake.
func (r *Report) weakest() (*Class, *Pair) {
	e := r.Evaluation
	if e == nil || len(e.Confusion) == 0 {
		return nil, nil
	}
	least := -1
	for i, c := range e.PerClass {
		if c.Images >= leastClass && c.Accuracy < 1 && (least < 0 || c.Accuracy < e.PerClass[least].Accuracy) {
			least = i
		}
	}
	if least < 0 {
		return nil, nil
	}
	c := &e.PerClass[least]
	row := slices.Clone(e.Confusion[least])
	row[least] = 0
	most := slices.Index(row, slices.Max(row))
	if row[most] == 0 {
		return c, nil
	}
	return c, &Pair{c.Name, e.output(most), row[most], ratio(row[most], c.Images), least, most}
}

// fit compares training and test.
type fit int

const (
	fits fit = iota
	overfits
	improves // still, when the training ended
)

// lowestTestLoss is the epoch with it.
func (r *Report) lowestTestLoss() checkpoint.EpochMetrics {
	return slices.MinFunc(r.tested(), func(a, b checkpoint.EpochMetrics) int {
		switch {
		case value(a.TestLoss) < value(b.TestLoss):
			return -1
		case value(a.TestLoss) > value(b.TestLoss):
			return 1
		}
		return 0
	})
}

// fit of the network: it overfits if the test loss has risen well above its lowest, or is far above the training loss
// although that is made harder; it still improves if the last tenth of the training lowered the test loss noticeably.
func (r *Report) fit() fit {
	tested := r.tested()
	if len(tested) < 2 {
		return fits
	}
	last, lowest := r.last(), r.lowestTestLoss()
	const risen, apart, fallen = 1.15, 2, 0.97
	switch earlier := tested[len(tested)-1-max(1, len(tested)/10)]; {
	case value(last.TestLoss) > risen*value(lowest.TestLoss) && last.TrainLoss < r.epoch(lowest.Epoch).TrainLoss:
		return overfits
	case r.easierThanTest() && value(last.TestLoss) > apart*last.TrainLoss:
		return overfits
	case value(last.TestLoss) < fallen*value(earlier.TestLoss) && last.TrainLoss < earlier.TrainLoss:
		return improves
	}
	return fits
}

// easierThanTest says that the training loss is of the same labels as the test loss.
func (r *Report) easierThanTest() bool {
	t := r.Spec.Training
	return t.LabelSmoothing == 0 && t.Augmentation.MixUp == nil && t.Augmentation.CutMix == nil && t.ClassWeights == nil
}

func (r *Report) fitFinding() *finding {
	last := r.last()
	if !last.Tested() {
		return nil
	}
	text := fmt.Sprintf("The loss is %.4f in training and %.4f on the test images, a gap of %+.4f.", last.TrainLoss,
		value(last.TestLoss), value(last.TestLoss)-last.TrainLoss)
	if !r.easierThanTest() {
		text += " The one in training is of other labels (smoothed, mixed or weighted): compare how they move."
	} else if augmentationText(r.Spec.Training.Augmentation) != "none" {
		text += " Augmentation makes the training images harder than the test images."
	}
	switch lowest := r.lowestTestLoss(); r.fit() {
	case overfits:
		text += " The network overfits"
		if lowest.Epoch != last.Epoch {
			text += fmt.Sprintf(": the test loss was lowest, %.4f, after epoch %d", value(lowest.TestLoss), lowest.Epoch)
		}
		text += "."
	case improves:
		text += " Both were still falling in the last epochs."
	case fits:
		if len(r.tested()) > 1 {
			text += " Nothing says that it overfits."
		}
	}
	return &finding{"Overfitting", text}
}

// dataWait is the share of the training time in which a step waited for its batch: the mean over the epochs.
func (r *Report) dataWait() (share float64) {
	for _, m := range r.History {
		share += m.DataWait / float64(len(r.History))
	}
	return share
}

// muchWait is a share of waiting that is worth a change.
const muchWait = 0.1

func (r *Report) dataWaitFinding() *finding {
	if len(r.History) == 0 {
		return nil
	}
	share := r.dataWait()
	text := fmt.Sprintf("Steps waited %.1f %% of the time for images.", 100*share)
	if share < muchWait {
		text += " Reading and augmenting them keeps up with the computation."
	} else {
		text += " Augmenting them is the bottleneck."
	}
	return &finding{"Data", text}
}

// nextStep is what is worth most now.
func (r *Report) nextStep() string {
	t, spec := r.Training, r.Spec.Training
	switch {
	case t.State == StateTraining:
		return "Wait: the training goes on. This page is written anew after every epoch."
	case t.State == StateStopped && t.Diverged:
		return "Lower " + learningRateField(spec) + " to a third, or set spec.training.clipGradNorm: 1; " +
			"`trainer find-lr` looks for a learning rate."
	case t.State == StateStopped:
		return "The checkpoint holds every step done. In a cluster the operator goes on from there by itself, " +
			"or once spec.suspend is false; elsewhere the same command does."
	case len(r.History) == 0:
		return ""
	case r.dataWait() >= muchWait:
		return "Give the pod more processors (spec.resources.cpu), or take a cheaper augmentation: the same epochs will " +
			"take less time."
	case r.fit() == overfits:
		return "Augment more (spec.training.augmentation.policy: TrivialAugmentWide, or cutout), raise " +
			"spec.training.optimizer.weightDecay, or train for fewer epochs."
	case r.fit() == improves:
		return fmt.Sprintf("Train longer: spec.training.epochs: %d, under another name.", 2*spec.Epochs)
	}
	if c, pair := r.weakest(); c != nil && pair != nil && c.Accuracy < r.Evaluation.Accuracy-0.05 {
		return fmt.Sprintf("Look at the images of %s that are taken for %s: some may be labelled wrong, and more "+
			"training images of both help most.", pair.True, pair.Predicted)
	}
	if e := r.Evaluation; e != nil {
		if lo, hi := wilson(e.Accuracy, e.Images); hi-lo > 0.03 {
			return "Test on more images before comparing recipes: the interval above is wide."
		}
	}
	return "Use it: the files are below. A larger spec.model.architecture or more epochs may add a little."
}

func learningRateField(t v1.TrainingSpec) string {
	if t.Schedule.Type == v1.OneCycle {
		return "spec.training.schedule.maxLR"
	}
	return "spec.training.optimizer.lr"
}
