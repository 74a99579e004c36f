package report

import (
	"cmp"
	"slices"
	"strconv"
)

// Evaluation is how well a network does on the test images.
type Evaluation struct {
	// Weights names the checkpoint, or the file.
	Weights string `json:"weights,omitempty"`
	// Images is their number, Loss the mean cross-entropy, Accuracy the top-1 accuracy in [0, 1].
	Images   int     `json:"images"`
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"`
	// Top5Accuracy only with more than five classes, FlipTTAAccuracy only if it was asked for.
	Top5Accuracy    *float64 `json:"top5Accuracy,omitempty"`
	FlipTTAAccuracy *float64 `json:"flipTTAAccuracy,omitempty"`
	// PerClass and Confused follow from Confusion.
	PerClass []Class `json:"perClass,omitempty"`
	Confused []Pair  `json:"mostConfused,omitempty"`
	// Confusion[i][j] is the number of images of class i that were taken for class j.
	Confusion [][]int64 `json:"confusion,omitempty"`
}

// Class is how well a network does on one class.
type Class struct {
	Name string `json:"name"`
	// Images of this class; Correct of them were recognised.
	Images  int64 `json:"images"`
	Correct int64 `json:"correct"`
	// Accuracy (recall) is the share of the class's images that were recognised, Precision the share of the images taken
	// for this class that belong to it, F1 their harmonic mean. 0 where there is nothing to divide by.
	Accuracy  float64 `json:"accuracy"`
	Precision float64 `json:"precision"`
	F1        float64 `json:"f1"`
}

// Pair counts the images of one class that were taken for another.
type Pair struct {
	True      string `json:"true"`
	Predicted string `json:"predicted"`
	Images    int64  `json:"images"`
	// Share of the images of the true class.
	Share float64 `json:"share"`
}

// maxPairs is how many of the most confused pairs are listed.
const maxPairs = 10

// complete derives PerClass and Confused.
func (e *Evaluation) complete(names []string) {
	e.PerClass = PerClass(e.Confusion, names)
	e.Confused = nil
	for i, row := range e.Confusion {
		for j, n := range row {
			if i != j && n > 0 {
				e.Confused = append(e.Confused, Pair{className(names, i), className(names, j), n, ratio(n, e.PerClass[i].Images)})
			}
		}
	}
	slices.SortStableFunc(e.Confused, func(a, b Pair) int { return cmp.Compare(b.Images, a.Images) })
	e.Confused = e.Confused[:min(maxPairs, len(e.Confused))]
}

// PerClass derives the numbers of every class from a confusion matrix (rows: true, columns: predicted).
func PerClass(confusion [][]int64, names []string) []Class {
	predicted := make([]int64, len(confusion))
	for _, row := range confusion {
		for j, n := range row {
			predicted[j] += n
		}
	}
	classes := make([]Class, len(confusion))
	for i, row := range confusion {
		c := Class{Name: className(names, i), Correct: row[i]}
		for _, n := range row {
			c.Images += n
		}
		c.Accuracy, c.Precision = ratio(c.Correct, c.Images), ratio(c.Correct, predicted[i])
		if sum := c.Accuracy + c.Precision; sum > 0 {
			c.F1 = 2 * c.Accuracy * c.Precision / sum
		}
		classes[i] = c
	}
	return classes
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// className of output i. A network may have more outputs than the data has classes.
func className(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "#" + strconv.Itoa(i)
}
