package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// Images makes the input of a network from bytes of shape N×H×W×C: ((x/255) - mean[c]) / std[c], as torchvision's
// ToTensor and Normalize. The result is float32, N×C×H×W, channels_last.
func (s *Scope) Images(pixels []byte, n, h, w int, mean, std []float32, d Device) Tensor {
	channels := len(mean)
	if len(std) != channels || channels == 0 || len(pixels) != n*h*w*channels {
		s.fail(fmt.Errorf("libtorch: images: %d bytes are not %d×%d×%d×%d", len(pixels), n, h, w, channels))
	}
	return s.make("images", func(out *C.lt_tensor) C.lt_message {
		return C.lt_images((*C.uint8_t)(unsafe.SliceData(pixels)), C.int64_t(n), C.int64_t(h), C.int64_t(w),
			C.int64_t(channels), (*C.float)(unsafe.SliceData(mean)), (*C.float)(unsafe.SliceData(std)),
			C.lt_device(d), out)
	})
}

// Labels copies class indices to a tensor.
func (s *Scope) Labels(labels []int64, d Device) Tensor {
	return s.make("labels", func(out *C.lt_tensor) C.lt_message {
		return C.lt_labels((*C.int64_t)(unsafe.SliceData(labels)), C.int64_t(len(labels)), C.lt_device(d), out)
	})
}

// Conv2d is torch.nn.functional.conv2d without bias.
func (s *Scope) Conv2d(x, weight Tensor, stride, padding int64) Tensor {
	return s.make("conv2d", func(out *C.lt_tensor) C.lt_message {
		return C.lt_conv2d(c(x), c(weight), C.int64_t(stride), C.int64_t(padding), out)
	}, x, weight)
}

// BatchNorm are the tensors and arguments of torch.nn.BatchNorm2d.
type BatchNorm struct {
	Weight, Bias, RunningMean, RunningVar Tensor
	Momentum, Eps                         float64
	// Processes, if not nil, makes it torch.nn.SyncBatchNorm: in training it normalises by the batches of all of them.
	Processes *ProcessGroup
}

// BatchNorm is f(batch_norm(x) + add), where add may be undefined. In training it normalises by the batch and moves the
// running statistics by momentum, else it normalises by those.
func (s *Scope) BatchNorm(n *BatchNorm, x, add Tensor, f Activation, training bool) Tensor {
	args := []Tensor{x, n.Weight, n.Bias, n.RunningMean, n.RunningVar}
	if defined(add) {
		args = append(args, add)
	}
	return s.make("batch_norm", func(out *C.lt_tensor) C.lt_message {
		weights := handles(args[1:5])
		var added C.lt_tensor
		if defined(add) {
			added = c(add)
		}
		return C.lt_batch_norm(c(x), unsafe.SliceData(weights), C.bool(training), C.double(n.Momentum), C.double(n.Eps),
			n.Processes.handle(), added, C.lt_activation_kind(f), out)
	}, args...)
}

// GroupNorm is torch.nn.functional.group_norm.
func (s *Scope) GroupNorm(x, weight, bias Tensor, groups int64, eps float64) Tensor {
	return s.make("group_norm", func(out *C.lt_tensor) C.lt_message {
		return C.lt_group_norm(c(x), c(weight), c(bias), C.int64_t(groups), C.double(eps), out)
	}, x, weight, bias)
}

// Activation is a function of torch.nn.functional, with its default arguments.
type Activation int

const (
	ReLU      Activation = C.LT_RELU
	LeakyReLU Activation = C.LT_LEAKY_RELU
	SiLU      Activation = C.LT_SILU
	GELU      Activation = C.LT_GELU
	Hardswish Activation = C.LT_HARDSWISH
	Identity  Activation = C.LT_IDENTITY
)

// Activate is f(x). It may overwrite x.
func (s *Scope) Activate(f Activation, x Tensor) Tensor {
	return s.make("activation", func(out *C.lt_tensor) C.lt_message {
		return C.lt_activation(c(x), C.lt_activation_kind(f), out)
	}, x)
}

// AddActivate is f(x + y). It overwrites x.
func (s *Scope) AddActivate(f Activation, x, y Tensor) Tensor {
	return s.make("add_activation", func(out *C.lt_tensor) C.lt_message {
		return C.lt_add_activation(c(x), c(y), C.lt_activation_kind(f), out)
	}, x, y)
}

// MaxPool is torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1).
func (s *Scope) MaxPool(x Tensor) Tensor {
	return s.make("max_pool", func(out *C.lt_tensor) C.lt_message { return C.lt_max_pool(c(x), out) }, x)
}

// GlobalAvgPool is the mean over height and width: N×C×H×W to N×C.
func (s *Scope) GlobalAvgPool(x Tensor) Tensor {
	return s.make("global_avg_pool", func(out *C.lt_tensor) C.lt_message { return C.lt_global_avg_pool(c(x), out) }, x)
}

// Linear is torch.nn.functional.linear.
func (s *Scope) Linear(x, weight, bias Tensor) Tensor {
	return s.make("linear", func(out *C.lt_tensor) C.lt_message {
		return C.lt_linear(c(x), c(weight), c(bias), out)
	}, x, weight, bias)
}

// CrossEntropy is torch.nn.CrossEntropyLoss. It computes in float32, if not in float64.
type CrossEntropy struct {
	LabelSmoothing float64
	// Weights of the classes, float32; undefined: 1 each.
	Weights Tensor
}

// Of N×classes logits, averaged over the batch, by the weights of its labels.
func (l CrossEntropy) Of(s *Scope, logits, labels Tensor) Tensor {
	return l.OfPart(s, logits, labels, Number{})
}

// OfPart is the sum over a part of a batch, divided by total instead: with weights, the sum of those of the labels of the
// whole batch.
func (l CrossEntropy) OfPart(s *Scope, logits, labels Tensor, total Number) Tensor {
	return s.make("cross_entropy", func(out *C.lt_tensor) C.lt_message {
		return C.lt_cross_entropy(c(logits), c(labels), orNull(l.Weights), C.double(l.LabelSmoothing), C.double(total.Value),
			orNull(total.Device), out)
	}, append([]Tensor{logits, labels}, total.and(l.Weights)...)...)
}

// Number is known to the host, or, for steps that a GPU makes by itself, one float64 there.
type Number struct {
	Value  float64
	Device Tensor
}

// and are those of the tensors that are defined.
func (n Number) and(others ...Tensor) (all []Tensor) {
	for _, t := range append(others, n.Device) {
		if defined(t) {
			all = append(all, t)
		}
	}
	return all
}

func orNull(t Tensor) C.lt_tensor {
	if !defined(t) {
		return nil
	}
	return c(t)
}

// Lerp is a·share + b·(1 − share).
func (s *Scope) Lerp(a, b Tensor, share Number) Tensor {
	return s.make("lerp", func(out *C.lt_tensor) C.lt_message {
		return C.lt_lerp(c(a), c(b), C.double(share.Value), orNull(share.Device), out)
	}, append([]Tensor{a, b}, share.and()...)...)
}

// Narrow is torch.narrow(x, 0, first, n): a view.
func (s *Scope) Narrow(x Tensor, first, n int) Tensor {
	return s.make("narrow", func(out *C.lt_tensor) C.lt_message {
		return C.lt_narrow(c(x), C.int64_t(first), C.int64_t(n), out)
	}, x)
}

// Element is element i of x, as a tensor of one: a view.
func (s *Scope) Element(x Tensor, i int) Tensor {
	return s.make("element", func(out *C.lt_tensor) C.lt_message { return C.lt_element(c(x), C.int64_t(i), out) }, x)
}

// Roll is torch.roll(x, 1, 0).
func (s *Scope) Roll(x Tensor) Tensor {
	return s.make("roll", func(out *C.lt_tensor) C.lt_message { return C.lt_roll(c(x), out) }, x)
}

// Paste puts a box (top, left, bottom, right) of other images into a copy of images, N×C×H×W.
func (s *Scope) Paste(images, others Tensor, box [4]int) Tensor {
	return s.make("paste", func(out *C.lt_tensor) C.lt_message {
		var b [4]C.int64_t
		for i, v := range box {
			b[i] = C.int64_t(v)
		}
		return C.lt_paste(c(images), c(others), &b[0], out)
	}, images, others)
}

// DeviceMix is images·share + others·(1 − share), with a box of the others: five float64 on the device are the share, and
// top, left, bottom and right of the box.
func (s *Scope) DeviceMix(images, others, numbers Tensor) Tensor {
	return s.make("mix", func(out *C.lt_tensor) C.lt_message {
		return C.lt_device_mix(c(images), c(others), c(numbers), out)
	}, images, others, numbers)
}

// CrossEntropySum is the sum of CrossEntropy over the batch, in float64, without smoothing.
func (s *Scope) CrossEntropySum(logits, labels Tensor) Tensor {
	return s.make("cross_entropy_sum", func(out *C.lt_tensor) C.lt_message {
		return C.lt_cross_entropy_sum(c(logits), c(labels), out)
	}, logits, labels)
}

// Float is Tensor.float: x in float32.
func (s *Scope) Float(x Tensor) Tensor {
	return s.make("float", func(out *C.lt_tensor) C.lt_message { return C.lt_float(c(x), out) }, x)
}

// AMinMax is torch.aminmax: the least and the greatest value of x, as a tensor of two; NaN if one of x is.
func (s *Scope) AMinMax(x Tensor) Tensor {
	return s.make("aminmax", func(out *C.lt_tensor) C.lt_message { return C.lt_aminmax(c(x), out) }, x)
}

// CountCorrect is the number of rows of logits with their maximum at the label: an Int64 scalar.
func (s *Scope) CountCorrect(logits, labels Tensor) Tensor {
	return s.make("count_correct", func(out *C.lt_tensor) C.lt_message {
		return C.lt_count_correct(c(logits), c(labels), out)
	}, logits, labels)
}

// CountAgreeing is the number of rows in which the maxima of two networks' logits are at the same place: an Int64 scalar.
func (s *Scope) CountAgreeing(logits, others Tensor) Tensor {
	return s.make("count_agreeing", func(out *C.lt_tensor) C.lt_message {
		return C.lt_count_agreeing(c(logits), c(others), out)
	}, logits, others)
}

// CountTop is the number of rows of logits with the label among their k largest: an Int64 scalar.
func (s *Scope) CountTop(logits, labels Tensor, k int) Tensor {
	return s.make("count_top", func(out *C.lt_tensor) C.lt_message {
		return C.lt_count_top(c(logits), c(labels), C.int64_t(k), out)
	}, logits, labels)
}

// CountConfusion adds 1 to confusion[label, argmax of logits] for every row: Int64, classes×classes.
func (s *Scope) CountConfusion(confusion, logits, labels Tensor) {
	s.do("count_confusion", func() C.lt_message {
		return C.lt_count_confusion(c(confusion), c(logits), c(labels))
	}, confusion, logits, labels)
}

// RecordTop1 writes the largest output of each row of logits and its probability (softmax) into the rows of into from
// first on: Float64, N×2.
func (s *Scope) RecordTop1(into Tensor, first int, logits Tensor) {
	s.do("record_top1", func() C.lt_message {
		return C.lt_record_top1(c(into), C.int64_t(first), c(logits))
	}, into, logits)
}

// Mirror turns images N×C×H×W left to right.
func (s *Scope) Mirror(x Tensor) Tensor {
	return s.make("mirror", func(out *C.lt_tensor) C.lt_message { return C.lt_mirror(c(x), out) }, x)
}

// Softmax are the probabilities that N×classes logits mean, in float64.
func (s *Scope) Softmax(logits Tensor) Tensor {
	return s.make("softmax", func(out *C.lt_tensor) C.lt_message { return C.lt_softmax(c(logits), out) }, logits)
}

// Backward is loss.backward(): it adds to the gradients of all parameters that loss was computed from.
func (s *Scope) Backward(loss Tensor) {
	s.do("backward", func() C.lt_message { return C.lt_backward(c(loss)) }, loss)
}

// AddTo adds x to total, in place and without gradient.
func (s *Scope) AddTo(total, x Tensor) {
	s.do("add", func() C.lt_message { return C.lt_add_to(c(total), c(x)) }, total, x)
}

// IndexCopy is a[index] = value without gradient, for an Int64 tensor of one index.
func (s *Scope) IndexCopy(a, index, value Tensor) {
	s.do("index_copy", func() C.lt_message { return C.lt_index_copy(c(a), c(index), c(value)) }, a, index, value)
}

// IndexSelect is a[index], for an Int64 tensor of one index.
func (s *Scope) IndexSelect(a, index Tensor) Tensor {
	return s.make("index_select", func(out *C.lt_tensor) C.lt_message { return C.lt_index_select(c(a), c(index), out) }, a, index)
}

// Increment is a += 1.
func (s *Scope) Increment(a Tensor) {
	s.do("increment", func() C.lt_message { return C.lt_increment(c(a)) }, a)
}
