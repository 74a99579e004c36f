package policy

import (
	"cmp"
	"fmt"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// spec.resources may be edited between attempts, so that a job that starves can be helped without losing its training.
// The price is in an event: floating-point sums depend on how many threads share them, and on the device.

// computeOf says what a pod calculates on.
func computeOf(r v1.ResourcesSpec) string {
	switch {
	case r.GPUs > 0 && len(r.ResourceClaims) > 0:
		return "GPU of a resource claim"
	case r.GPUs > 0:
		return cmp.Or(r.GPUResource, childjob.DefaultGPU)
	case r.CPU == nil:
		return ""
	}
	if threads := (r.CPU.MilliValue() + 999) / 1000; threads > 1 { // as the kubelet sets OMP_NUM_THREADS
		return fmt.Sprintf("%d threads", threads)
	}
	return "1 thread"
}

// compute records what the new attempt calculates on, and warns if a run goes on upon something else than before.
func (d *Decision) compute(o Observation) {
	before, after := d.Status.Compute, computeOf(o.Job.Spec.Resources)
	if before != "" && before != after && d.Status.Checkpoint != nil {
		d.warn(v1.ReasonComputeChanged, fmt.Sprintf("the training goes on with %s after %s: "+
			"its weights will differ from those of an undisturbed run in the last digits", after, before))
	}
	d.Status.Compute = after
}
