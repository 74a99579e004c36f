package policy

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestAStatusThatOnlySaysThatAnAttemptIsOnItsWayWaits(t *testing.T) {
	trains := observed(NewJob(), Child(1), Pod(corev1.PodRunning, ReadyPod))
	trains.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20, FirstStepTime: &Now.Time}
	for name, c := range map[string]struct {
		o    Observation
		held bool
	}{
		"an attempt is created":       {observed(NewJob()), true},
		"its pod waits":               {observed(NewJob(), Child(1), Pod(corev1.PodPending)), true},
		"its pod reads the data":      {observed(NewJob(), Child(1), Pod(corev1.PodRunning)), true},
		"a queue holds it back":       {observed(NewJob(), Child(1, SuspendedChild)), true},
		"the next attempt is created": {observed(Restarting(1, 0), Child(1, failing)), true},
		"its pod trains":              {trains, false},
		"it cannot start":             {observed(NewJob(), Child(1), Pod(corev1.PodPending, Unschedulable("0/3"))), false},
		"its pod is about to go":      {observed(NewJob(), Child(1), Pod(corev1.PodRunning, DeletedPod(time.Minute))), false},
		"its pod failed":              {observed(NewJob(), Child(1), Pod(corev1.PodFailed, Killed("Error", 1, ""))), false},
		"its Job is gone":             {Observation{Job: NewJob(), Attempt: 1}, false},
		"it is suspended":             {observed(Suspend(NewJob()), Child(1), Pod(corev1.PodPending)), false},
		"nothing changed":             {observed(Starting(1), Child(1), Pod(corev1.PodPending)), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.o, Now.Time)
			if held := !d.HeldSince.IsZero(); held != c.held || held && (d.RequeueAfter > holdTime || d.RequeueAfter <= 0) {
				t.Fatalf("held %v, look again in %s; want held %v, for at most %s", held, d.RequeueAfter, c.held, holdTime)
			}
			c.o.HeldSince = Now.Add(-holdTime)
			if d := Decide(c.o, Now.Time); !d.HeldSince.IsZero() {
				t.Errorf("held for longer than %s", holdTime)
			}
		})
	}
}

// What was held becomes one write with what follows, as if the attempt had been in the status all the time.
func TestAHeldStatusIsMerged(t *testing.T) {
	o := observed(NewJob(), Child(1, Created(-time.Second)), Pod(corev1.PodRunning, ReadyPod))
	o.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epochs: 20, FirstStepTime: &Now.Time}
	s := Decide(o, Now.Time).Status
	if s.State != v1.StateRunning || s.Attempt != 1 || s.Progress == nil || s.PodName != "net-1-0" {
		t.Errorf("%+v: want the first attempt to run, with its progress and its pod", s)
	}
	if !s.AttemptStartTime.Time.Equal(Now.Add(-time.Second)) || !s.StartTime.Equal(s.AttemptStartTime) {
		t.Errorf("began at %s, %s: want the creation of the Job", s.StartTime, s.AttemptStartTime)
	}
}

// The pod of an attempt that is not in the status yet is the one that was asked for its progress.
func TestThePodOfAHeldAttemptIsKnown(t *testing.T) {
	o := observed(NewJob(), Child(1), Pod(corev1.PodPending, Called("net-1-0-b")))
	o.FollowedPod = "net-1-0"
	if d := Decide(o, Now.Time); d.Status.Disruptions != 1 || !d.HeldSince.IsZero() {
		t.Errorf("%+v: want the attempt to end with its pod", d.Status)
	}
}

// While the API server takes long to write, what is not urgent waits longer.
func TestWritesWaitForABusyServer(t *testing.T) {
	for latency, want := range map[time.Duration][2]time.Duration{
		5 * time.Millisecond:   {holdTime, ProgressInterval},
		150 * time.Millisecond: {15 * time.Second, 15 * time.Second},
		time.Second:            {maxWait, maxWait},
	} {
		starts := observed(NewJob(), Child(1), Pod(corev1.PodPending))
		trains := observed(Running(1), Child(1), Pod(corev1.PodRunning, ReadyPod))
		trains.Job.Status.FirstStepTime = &Now
		trains.Progress = &contract.Progress{Attempt: 1, Phase: contract.PhaseTraining, Epoch: 1, Epochs: 20}
		for i, o := range []Observation{starts, trains} {
			o.WriteLatency = latency
			for _, c := range []struct {
				since   time.Duration
				written bool
			}{{want[i] - time.Millisecond, false}, {want[i], true}} {
				o.HeldSince, o.ProgressWritten = Now.Add(-c.since), Now.Add(-c.since)
				d := Decide(o, Now.Time)
				if written := d.HeldSince.IsZero() && d.StatusChanged(o); written != c.written {
					t.Errorf("case %d at %s: written is %v after %s", i, latency, written, c.since)
				}
			}
		}
	}
}
