package quant

import "math"

// Range of the values of a tensor.
type Range struct {
	Min float32 `json:"min"`
	Max float32 `json:"max"`
}

// Join is the least range that holds both; one that is not a number stays so.
func (r Range) Join(other Range) Range { return Range{min(r.Min, other.Min), max(r.Max, other.Max)} }

// Finite reports whether both ends are numbers.
func (r Range) Finite() bool { return finite(float64(r.Min)) && finite(float64(r.Max)) }

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Affine says which real number a uint8 stands for: Scale·(q − ZeroPoint).
type Affine struct {
	Scale     float32
	ZeroPoint uint8
}

// eps is the least scale: torch.finfo(torch.float32).eps.
const eps = 1. / (1 << 23)

// Affine is what torch.ao's MinMaxObserver (quint8, per_tensor_affine) makes of a range: 0, which pads, is exact.
func (r Range) Affine() Affine {
	low, high := min(r.Min, 0), max(r.Max, 0)
	scale := max((high-low)/math.MaxUint8, eps)
	zero := -math.RoundToEven(float64(low / scale))
	return Affine{scale, uint8(min(max(zero, 0), math.MaxUint8))}
}

// Calibration holds the ranges of the values between the layers, by their names in package arch.
type Calibration struct {
	Ranges map[string]Range
	// Images that they were measured on.
	Images int
}

// Add widens the range of a value.
func (c *Calibration) Add(value string, r Range) {
	if c.Ranges == nil {
		c.Ranges = map[string]Range{}
	}
	if known, ok := c.Ranges[value]; ok {
		r = known.Join(r)
	}
	c.Ranges[value] = r
}
