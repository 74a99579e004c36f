// Package controllers reconciles ResNetTrainingJobs.
//
// A reconcile is four calls. observe reads the job, the child Job and pods of its current attempt, and the progress
// last pulled from the trainer. decide is a pure function of that and the time: which child to create or delete, what
// the status becomes, when to look again. apply creates and deletes children. writeStatus patches the status, if it
// changed, and then emits the events of the transition.
//
// Every attempt is a batch/v1 Job of its own, <job>-<attempt>, created once and never changed. Its number fences the
// bucket: see package checkpoint.
package controllers
