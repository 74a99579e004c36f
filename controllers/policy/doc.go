// Package policy decides what happens to a ResNetTrainingJob. Decide is a pure function of an Observation and the time:
// no client, no clock and no state is in here, as TestThePolicyIsPure makes sure.
//
// The words are those of the API. A job has a v1.State; an attempt is observed to be in one of the same states, or
// in one of the two that lie between it and the next attempt. The phase of a pod is Kubernetes'; the phase of a trainer
// (contract.Phase) is what it does at the moment, and is only looked at to tell whether it has begun.
//
// References between the files run downwards in this order, as TestReferencesRunDownwards makes sure:
//
//	decide.go       the whole policy, top to bottom
//	start.go        the next attempt begins, or cannot
//	suspend.go      spec.suspend
//	deadlines.go    spec.startDeadlineSeconds, progressDeadlineSeconds and activeDeadlineSeconds
//	retry.go        failures and disruptions
//	ttl.go          spec.ttlSecondsAfterFinished
//	transitions.go  what a transition does to state, conditions and events
//	compute.go      on what it calculates
//	hold.go         which writes of the status can wait
//	progress.go     when progress is worth a write
//	decision.go     Decision
//	attempt.go      the status of an attempt, read off its child and pod
//	pods.go         the same of several pods that train together
//	blocked.go      what keeps a pod from starting
//	looks.go        when to read the events of what is stuck
//	failure.go      why a pod ended
//	report.go       what the trainer reports, as far as it can be true
//	numbers.go      numbers that are fit for a status, and as kubectl shows them
//	observation.go  Observation
//	message.go      text that is fit for a status
package policy
