package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// heldStatuses remembers the statuses that are not written yet.
type heldStatuses struct {
	mu   sync.Mutex
	jobs map[types.NamespacedName]heldStatus
}

// heldStatus is what is remembered of one.
type heldStatus struct {
	job     types.UID
	attempt int32
	since   time.Time
}

// hold remembers a status that the policy puts off, and reports whether it did.
func (h *heldStatuses) hold(o *policy.Observation, d policy.Decision) bool {
	key := client.ObjectKeyFromObject(o.Job)
	if d.HeldSince.IsZero() {
		h.forget(key)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs == nil {
		h.jobs = map[types.NamespacedName]heldStatus{}
	}
	h.jobs[key] = heldStatus{job: o.Job.UID, attempt: d.Status.Attempt, since: d.HeldSince}
	return true
}

// forget a job.
func (h *heldStatuses) forget(job types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.jobs, job)
}

// observe adds what is remembered. The child of an attempt that the status does not tell of may be gone by now, but its
// number is taken.
func (h *heldStatuses) observe(o *policy.Observation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.jobs[client.ObjectKeyFromObject(o.Job)]
	if !ok || held.job != o.Job.UID {
		return
	}
	o.HeldSince = held.since
	if held.attempt > o.Attempt {
		o.Attempt, o.Child = held.attempt, nil
	}
}
