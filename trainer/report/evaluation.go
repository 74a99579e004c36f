package report

import (
	"cmp"
	"encoding/json"
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
	// PerClass and Confused follow from Confusion, which is nil if it was not counted.
	PerClass  []Class   `json:"perClass,omitempty"`
	Confused  []Pair    `json:"mostConfused,omitempty"`
	Confusion Confusion `json:"confusion,omitempty"`

	classes []string // names of the first outputs
}

// Confusion[i][j] is the number of images of class i that were taken for output j of the network, which may have more
// outputs than there are classes.
type Confusion [][]int64

// maxMatrix is the number of outputs up to which a confusion matrix is drawn and written as such. Its size grows with the
// square of them, but only so many counts are not 0 as there are images.
const maxMatrix = 100

// outputs of the network.
func (c Confusion) outputs() int {
	if len(c) == 0 {
		return 0
	}
	return len(c[0])
}

// MarshalJSON writes the matrix, or of more than 100 outputs the counts that are not 0, as three lists:
// counts[k] images of class rows[k] were taken for output columns[k].
func (c Confusion) MarshalJSON() ([]byte, error) {
	if c.outputs() <= maxMatrix {
		return json.Marshal([][]int64(c))
	}
	var sparse struct {
		Rows    []int   `json:"rows"`
		Columns []int   `json:"columns"`
		Counts  []int64 `json:"counts"`
	}
	for i, row := range c {
		for j, n := range row {
			if n > 0 {
				sparse.Rows, sparse.Columns, sparse.Counts = append(sparse.Rows, i), append(sparse.Columns, j), append(sparse.Counts, n)
			}
		}
	}
	return json.Marshal(sparse)
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

	row, column int // of the confusion matrix
}

// maxPairs is how many of the most confused pairs are listed; manyPairs where there is no matrix to look at.
const maxPairs, manyPairs = 10, 40

// complete derives PerClass and Confused.
func (e *Evaluation) complete(names []string) {
	e.PerClass, e.Confused, e.classes = PerClass(e.Confusion, names), nil, names
	for i, row := range e.Confusion {
		for j, n := range row {
			if i != j && n > 0 {
				e.Confused = append(e.Confused, Pair{e.output(i), e.output(j), n, ratio(n, e.PerClass[i].Images), i, j})
			}
		}
	}
	slices.SortStableFunc(e.Confused, func(a, b Pair) int { return cmp.Compare(b.Images, a.Images) })
	most := maxPairs
	if e.Confusion.outputs() > maxMatrix {
		most = manyPairs
	}
	e.Confused = slices.Clone(e.Confused[:min(most, len(e.Confused))])
}

func (e *Evaluation) output(i int) string { return className(e.classes, i) }

// PerClass derives the numbers of every class from a confusion matrix (rows: true, columns: predicted).
func PerClass(confusion Confusion, names []string) []Class {
	predicted := make([]int64, confusion.outputs())
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
