package policy

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Why a Job has no pod, and why a pod has not its volumes, is told in events only. A list of events is dear, and nobody
// watches them for the manager. So they are read of what is stuck, and less often the longer it is.

const (
	// firstLook is when something counts as stuck: a healthy start is seldom slower.
	firstLook = 2 * time.Second
	// lookInterval is the longest time between two looks.
	lookInterval = 30 * time.Second
)

// sooner is the shorter of two waits, of which 0 is for ever.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return max(0, b)
	}
	return a
}

// nextLook is the time from the last look at something that is stuck to the next one: these are after 2, 4, 8, 16 and
// 30 seconds, and then every 30.
func nextLook(stuck time.Duration) time.Duration {
	for look := firstLook; look < lookInterval; look *= 2 {
		if stuck < look {
			return look - max(0, stuck)
		}
	}
	return lookInterval - stuck%lookInterval
}

// AsksFailedCreate is true if FailedCreate is to be observed: the Job controller has created no pod.
func (o Observation) AsksFailedCreate(now time.Time) bool {
	pods := o.Job.Spec.Pods()
	if !o.mayStart() || len(o.podsByIndex()) == int(pods) {
		return false
	}
	stuck, since := childjob.LacksPod(o.Child, pods)
	return stuck && now.Sub(since) >= firstLook
}

// Unprepared is the pod of which FailedMount is to be observed, because its node has not prepared it; nil for none.
func (o Observation) Unprepared(now time.Time) *corev1.Pod {
	if !o.mayStart() {
		return nil
	}
	for _, pod := range o.podsByIndex() {
		if stuck, since := childjob.Unprepared(pod); stuck && now.Sub(since) >= firstLook {
			return pod
		}
	}
	return nil
}

// mayStart is true for an attempt under way in which no trainer has run.
func (o Observation) mayStart() bool {
	return o.Job.Status.CompletionTime == nil && o.Child != nil && childjob.MayRun(o.Child) && o.RanIn() == ""
}
