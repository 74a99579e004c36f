package policy

import (
	"fmt"
	"math"
	"strconv"
	"time"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// The numbers of a status are rounded, so that it never flaps between two spellings of one value.

// loss has four decimals, and from a million on four significant digits.
func loss(x *float64) *float64 {
	switch {
	case x == nil:
		return nil
	case *x >= 1e6:
		rounded, _ := strconv.ParseFloat(fmt.Sprintf("%.3e", *x), 64)
		return &rounded
	}
	return rounded(*x, 4)
}

// ratio is from 0 to 1 and has four decimals.
func ratio(x *float64) *float64 {
	if x == nil {
		return nil
	}
	return rounded(*x, 4)
}

// rate is whole from 10 on, and has two decimals below that.
func rate(x float64) float64 {
	if x < 10 {
		return *rounded(x, 2)
	}
	return math.Round(x)
}

func rounded(x float64, decimals int) *float64 {
	scale := math.Pow10(decimals)
	x = math.Round(x*scale) / scale
	return &x
}

// display is progress as kubectl get shows it; nil without progress.
func display(p *v1.ProgressStatus) *v1.DisplayStatus {
	if p == nil {
		return nil
	}
	d := &v1.DisplayStatus{
		Epoch: fmt.Sprintf("%d/%d", p.Epoch, p.Epochs), Accuracy: percent(p.Accuracy), BestAccuracy: percent(p.BestAccuracy),
	}
	switch {
	case p.Loss == nil:
	case *p.Loss >= 1e6:
		d.Loss = fmt.Sprintf("%.3e", *p.Loss)
	default:
		d.Loss = fmt.Sprintf("%.4f", *p.Loss)
	}
	if p.ETASeconds > 0 {
		d.ETA = (time.Duration(p.ETASeconds) * time.Second).String()
	}
	return d
}

func percent(ratio *float64) string {
	if ratio == nil {
		return ""
	}
	return fmt.Sprintf("%.2f%%", *ratio*100)
}
