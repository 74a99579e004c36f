// Package controllers reconciles ResNetTrainingJobs.
//
// A reconcile is four calls. observe reads the job, the child Job and pods of its current attempt, and the progress
// last pulled from the trainer. decide is a pure function of that and the time: which child to create or delete, what
// the status becomes, when to look again. apply creates and deletes children. writeStatus patches the status, if it
// changed, and then emits the events of the transition.
//
// Each policy has a file: attempt.go and blocked.go read an attempt off its Job and pod, retry.go, suspend.go,
// deadlines.go, ttl.go and edit.go say what follows from it, transitions.go says it to the user. child.go, template.go
// and folders.go make the pod. progress.go and message.go are where what a pod says becomes fit for a status.
// docs/operations.md is the same for users.
//
// Every attempt is a batch/v1 Job of its own, <job>-<attempt>, created once and never changed. Its number fences the
// bucket: see package checkpoint.
package controllers
