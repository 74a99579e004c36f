package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// onVolume reports whether the results of a job lie on a volume of its pods.
func onVolume(job *v1.ResNetTrainingJob) bool {
	return strings.HasPrefix(job.Spec.Storage.URI, "file://")
}

const (
	// readerTimeout is how long a reader may take to start: a node, its image, the volume.
	readerTimeout = 2 * time.Minute
	// deleteTimeout is how long a reader's deletion may take, also after Ctrl-C.
	deleteTimeout = 10 * time.Second
)

// openVolume opens the folder that holds the results of a job, through a pod that mounts the volume and lives until done is
// called. It takes the rights to create and delete pods, beside that for a port-forward.
func (c *cluster) openVolume(ctx context.Context, job *v1.ResNetTrainingJob) (st store.Store, done func(), err error) {
	like, running, err := c.podLike(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	pod := childjob.Reader(job, like, running)
	if pod == nil {
		return nil, nil, fmt.Errorf("no volume of spec.template holds %s: it went with the pod", job.Spec.Storage.URI)
	}
	if err := c.Create(ctx, pod); err != nil {
		return nil, nil, fmt.Errorf("%s is on a volume, which takes a pod to read: %s", job.Spec.Storage.URI, explain(err))
	}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		_ = c.Delete(ctx, pod, client.GracePeriodSeconds(0)) // else its deadline ends it
	}
	way, err := c.wayToReader(ctx, job, pod)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return store.OpenHandler(job.Spec.Storage.URI, way.dial), func() { way.close(); remove() }, nil
}

// podLike is the spec of a pod of the job, the newest one, or of a Job of one: it has the image and the user. running is
// true for a pod that holds the volume now.
func (c *cluster) podLike(ctx context.Context, job *v1.ResNetTrainingJob) (like *corev1.PodSpec, running bool, err error) {
	pods, err := c.pods(ctx, job)
	if err != nil {
		return nil, false, err
	}
	newest := int32(-1)
	for i := range pods {
		if pod := &pods[i]; attemptOf(pod) > newest || pod.Status.Phase == corev1.PodRunning {
			newest, like, running = attemptOf(pod), &pod.Spec, pod.Status.Phase == corev1.PodRunning
		}
		if running {
			return like, true, nil
		}
	}
	if like != nil {
		return like, false, nil
	}
	var children batchv1.JobList
	if err := c.List(ctx, &children, client.InNamespace(job.Namespace), client.MatchingLabels{childjob.LabelJobName: job.Name}); err != nil {
		return nil, false, err
	}
	for i := range children.Items {
		if child := &children.Items[i]; metav1.IsControlledBy(child, job) {
			return &child.Spec.Template.Spec, false, nil
		}
	}
	return nil, false, fmt.Errorf("%s is on a volume, and no pod or Job of %s is left that says by which image it is to be read: mount the claim in a pod of your own, and copy by kubectl cp",
		job.Spec.Storage.URI, job.Name)
}

// wayToReader waits until a reader answers.
func (c *cluster) wayToReader(ctx context.Context, job *v1.ResNetTrainingJob, pod *corev1.Pod) (*way, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readerTimeout, errTooLate)
	defer cancel()
	ping := contract.JobPrefix(job.Namespace, job.Name, string(job.UID)) + "/latest"
	for why := "no node has taken it yet"; ; {
		err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			return nil, err
		case pod.Status.Phase == corev1.PodRunning:
			w, err := c.forward(ctx, pod.Namespace, pod.Name, childjob.ReaderPort)
			if err == nil {
				if _, err = store.OpenHandler(job.Spec.Storage.URI, w.dial).List(ctx, ping); err == nil {
					return w, nil
				}
				w.close()
			}
			why = explain(err)
			if apierrors.IsForbidden(err) {
				return nil, errors.New(why)
			}
		case pod.Status.Phase == corev1.PodFailed, pod.Status.Phase == corev1.PodSucceeded:
			return nil, fmt.Errorf("the pod %s, which was to read %s, has ended: %s", pod.Name, job.Spec.Storage.URI, ofReader(pod))
		default:
			why = cmp.Or(ofReader(pod), why)
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) != errTooLate {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("the pod %s, which is to read %s, does not answer within %s: %s", pod.Name, job.Spec.Storage.URI, readerTimeout, why)
		case <-time.After(pollEvery):
		}
	}
}

var errTooLate = errors.New("too late")

// ofReader says what a reader waits for, or how it ended.
func ofReader(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating":
			return s.State.Waiting.Reason + ": " + contract.Line(s.State.Waiting.Message)
		case s.State.Terminated != nil:
			return fmt.Sprintf("exit code %d: %s", s.State.Terminated.ExitCode, contract.Line(s.State.Terminated.Message))
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return contract.Line(condition.Message)
		}
	}
	return contract.Line(pod.Status.Message)
}
