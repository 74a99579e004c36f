package eval

import "github.com/resnet-operator/resnet-operator/trainer/report"

// Evaluation is what a network gives on the test images.
type Evaluation struct {
	// Weights says where the weights came from: the URI of a checkpoint, or a path.
	Weights string `json:"weights,omitempty"`
	// Images is their number.
	Images int `json:"images"`
	// Loss is the mean cross-entropy; Top1 the share, in [0, 1], of images whose largest logit is that of their class.
	Loss float64 `json:"loss"`
	Top1 float64 `json:"top1"`
	// Top5 is the share of images whose class is among the five largest logits; nil with five classes or fewer.
	Top5 *float64 `json:"top5,omitempty"`
	// FlipTTA is Top1 of the logits averaged over an image and its mirror image; nil if not asked for.
	FlipTTA *float64 `json:"flipTTA,omitempty"`
	// Int8 is what the network gives quantised; nil if not asked for.
	Int8 *Int8 `json:"int8,omitempty"`
	// Classes are the names of the classes. Confusion is nil if not asked for, and with more than 4096 outputs.
	Classes   []string         `json:"classes"`
	Confusion report.Confusion `json:"confusion"`
	// Predictions of all images in their order; nil if not asked for.
	Predictions []report.Prediction `json:"-"`
}

// Int8 is what a network gives whose weights and activations are quantised as those of its int8 model.
type Int8 struct {
	// Loss and Top1 are as of an Evaluation.
	Loss float64 `json:"loss"`
	Top1 float64 `json:"top1"`
	// Agreement is the share of images, in [0, 1], whose largest logit is that of the network without quantisation.
	Agreement float64 `json:"agreement"`
}
