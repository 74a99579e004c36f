package policy

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// The pods of a distributed attempt start and end together: once one has failed, the Job controller deletes the others, and
// their trainers lose a peer. So the cause is looked for in all pods, and what is only a consequence of it is none.

// killTime is how long a kubelet takes at most to tell that it has killed a pod, once the grace of that is over. A node that
// says nothing for longer is dead.
const killTime = 15 * time.Second

// blame is how well the end of a pod explains that of its attempt. The highest counts.
type blame int

const (
	blameNone      blame = iota // it runs, or trained to the end
	blamePeer                   // it stopped, or ended with 76, because of another pod
	blameDeleted                // it was deleted
	blameDisrupted              // it was evicted or preempted, or its node is gone or did not take it
	blameFailed
	blamePermanent // another attempt would end in the same way
)

// blameOf a pod of several.
func blameOf(pod *corev1.Pod, now time.Time) blame {
	end := childjob.Terminated(pod)
	switch {
	case exitCodeOf(pod).Permanent():
		return blamePermanent
	case childjob.Lost(pod, now):
		return blameDisrupted
	case !childjob.TrainerEnded(pod), end != nil && end.ExitCode == 0:
		return blameNone
	case childjob.PodHas(pod, corev1.DisruptionTarget) != nil, end == nil && childjob.Rejected(pod):
		return blameDisrupted
	case !pod.DeletionTimestamp.IsZero():
		return blameDeleted
	case exitCodeOf(pod) == contract.ExitStopped && !terminationOf(pod).Interrupted, exitCodeOf(pod) == contract.ExitPeerLost:
		return blamePeer
	}
	return blameFailed // also if it was told to stop by nobody that we know
}

// saysWhy is true for a pod that ended by itself and tells more than its peers can, also if it was deleted before its end
// was known: a kubelet may report both ends of a loss in any order.
func saysWhy(pod *corev1.Pod) bool {
	switch exitCodeOf(pod) {
	case contract.ExitDone, contract.ExitStopped, contract.ExitPeerLost:
		return false
	}
	return childjob.OutOfMemory(pod) || terminationOf(pod).Message != ""
}

// terminationOf is what the trainer of a pod left at its end; empty if it left nothing.
func terminationOf(pod *corev1.Pod) contract.Termination {
	termination, _ := contract.ParseTermination(childjob.TerminationMessage(childjob.Terminated(pod)))
	return termination
}

// exitCodeOf the trainer of a pod; 0 if it runs.
func exitCodeOf(pod *corev1.Pod) contract.ExitCode {
	if end := childjob.Terminated(pod); end != nil {
		return contract.ExitCode(end.ExitCode)
	}
	return contract.ExitDone
}

// nameOf a pod of several, with the ranks of its processes as the trainer counts them.
func (o Observation) nameOf(pod *corev1.Pod) string {
	n := int(o.Job.Spec.ProcessesPerPod())
	first := childjob.Index(pod) * n
	if n == 1 {
		return fmt.Sprintf("rank %d (pod %s)", first, pod.Name)
	}
	return fmt.Sprintf("ranks %d to %d (pod %s)", first, first+n-1, pod.Name)
}

// ending is how an attempt ended.
type ending struct {
	over bool
	// pod to judge it by; nil if that is gone.
	pod *corev1.Pod
	// counts: it is a failure although the pod was being deleted.
	counts bool
}

// ending looks for the pod that ended the attempt, of the lowest index if there are several to blame.
func (o Observation) ending(now time.Time) ending {
	if o.Child == nil {
		return ending{}
	}
	if !o.distributed() {
		pod := o.Pod()
		return ending{pod: pod, over: childjob.TrainerEnded(pod) || pod != nil && childjob.Lost(pod, now) ||
			pod == nil && childjob.JobHas(o.Child, batchv1.JobFailed)}
	}
	now = now.Add(-killTime) // a pod that is killed is frozen, and its node is not dead
	pods := o.podsByIndex()
	most, b := (*corev1.Pod)(nil), blameNone
	for _, pod := range pods {
		if of := blameOf(pod, now); of > b {
			most, b = pod, of
		}
	}
	working := slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return childjob.Working(p, now) })
	lostPeer := slices.IndexFunc(pods, func(p *corev1.Pod) bool { return exitCodeOf(p) == contract.ExitPeerLost })
	gone := len(pods) < int(o.Job.Spec.Pods()) && childjob.JobHas(o.Child, batchv1.JobFailed)
	e := ending{over: !working, pod: most} // rank 0 may still save
	switch {
	case b >= blameFailed:
		e.over = true
	case b == blameDisrupted:
	case gone:
		e.pod = nil
	case lostPeer >= 0:
		// A peer that is deleted says so before it ends. One that was lost without a word died or was frozen, and is deleted
		// because of that; but once its pod has ended, or its node is dead, that may tell more.
		e.pod, e.counts = pods[lostPeer], true
		if i := slices.IndexFunc(pods, saysWhy); i >= 0 {
			e.pod = pods[i]
		}
	case b == blameNone:
		return ending{}
	}
	return e
}
