package controllers

import (
	"cmp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// endedPods remembers how pods of jobs of several ended. One that was evicted or deleted goes as soon as it has ended,
// while others of its attempt still save, and would take along why all of them end.
type endedPods struct {
	mu   sync.Mutex
	jobs map[types.NamespacedName]endedAttempt
}

// endedAttempt is what is remembered of one, by the UIDs of its pods.
type endedAttempt struct {
	child types.UID
	pods  map[types.UID]corev1.Pod
}

// observe takes note of the pods that have ended, and adds those that are gone.
func (e *endedPods) observe(o *policy.Observation) {
	key := client.ObjectKeyFromObject(o.Job)
	if o.Child == nil || o.Job.Spec.Pods() == 1 {
		e.forget(key)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.jobs[key]
	if a.child != o.Child.UID {
		a = endedAttempt{child: o.Child.UID, pods: map[types.UID]corev1.Pod{}}
	}
	there := map[types.UID]bool{}
	for _, pod := range o.Pods {
		if there[pod.UID] = true; childjob.TrainerEnded(&pod) {
			a.pods[pod.UID] = pod
		}
	}
	for uid, pod := range a.pods {
		if !there[uid] {
			o.Gone = append(o.Gone, pod)
		}
	}
	slices.SortFunc(o.Gone, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	if e.jobs == nil {
		e.jobs = map[types.NamespacedName]endedAttempt{}
	}
	e.jobs[key] = a
}

// forget a job.
func (e *endedPods) forget(job types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.jobs, job)
}
