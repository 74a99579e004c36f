package data

import "slices"

// byClass are the indices of the images of each class that has some.
func (im *Images) byClass() [][]int {
	var all [][]int
	for i, label := range im.Labels {
		for int(label) >= len(all) {
			all = append(all, nil)
		}
		all[label] = append(all[label], i)
	}
	return slices.DeleteFunc(all, func(c []int) bool { return len(c) == 0 })
}

// balanced draws n images with replacement for an epoch: a class, all alike likely, and an image of it. An image that is
// drawn again has n added to its index each time.
func balanced(seed int64, epoch int32, n int, classes [][]int) []int {
	g := stream(seed, epoch, -1)
	order, times := make([]int, n), make(map[int]int, n)
	for i := range order {
		class := classes[below(&g, len(classes))]
		index := class[below(&g, len(class))]
		order[i] = index + n*times[index]
		times[index]++
	}
	return order
}

// BalancedWeights are the weights of classes by which all of them together count alike: N / (classes · images of the
// class), as scikit-learn's class_weight="balanced". A class without images has weight 1.
func (im *Images) BalancedWeights(classes int) []float64 {
	weights, counts := make([]float64, classes), make([]int, classes)
	for _, label := range im.Labels {
		counts[label]++
	}
	for i, n := range counts {
		if weights[i] = 1; n > 0 {
			weights[i] = float64(im.N) / float64(classes*n)
		}
	}
	return weights
}
