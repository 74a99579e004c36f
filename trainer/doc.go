// Package trainer trains a network as a ResNetTrainingJob says: in a pod, or on a laptop without Kubernetes.
//
// Read train.go first, then core.go of package step, which is what a step does. Each value has one owner:
//
//	recipe  what a training does at each step and after each epoch: plain numbers, which follow from the job alone
//	state   what a training changes; its snapshot is all that a run needs to go on as if it had not been interrupted
//	step    the steps of the optimiser: one after the other, or as one graph on a GPU
//	eval    a network that is used without training it
//	quant   integers of 8 bits: what they stand for, in an exported model
//	group   the processes that train together, if there are several: their sums, and who is well
//	record  what is told and left: progress, log, metrics, report
//
// The rest follows from the job too: the order of the images and their augmentation are functions of the seed, the
// epoch and the
// index of an image.
package trainer
