// Package trainer trains a network as a ResNetTrainingJob says: in a pod, or on a laptop without Kubernetes.
//
// Read Run first, then trainEpoch and step. What a run needs to go on after an interruption as if there had been none is
// in snapshot; the rest follows from the job: the order of the images and their augmentation are functions of the
// seed, the epoch and the index of an image, the learning rate is a function of the step.
package trainer
