// Package controllers reconciles ResNetTrainingJobs.
//
// A reconcile is four calls. observe reads the job, the child Job and pods of its current attempt, and the progress
// last pulled from the trainer. policy.Decide is a pure function of that and the time: which child to create or delete,
// what the status becomes, when to look again. apply creates and deletes children. writeStatus patches the status, if
// it changed, and then emits the events of the transition.
//
// Only this package talks to the API server and to pods. Below it, package policy decides, and package childjob makes
// the batch/v1 Job of an attempt and reads what it and its pods report. docs/operations.md is the same for users.
package controllers
