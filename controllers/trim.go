package controllers

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// trim drops from an object what the controller never reads of it, before the cache keeps it: most of it, once a job
// has finished. Nothing that was read from the cache is ever written back.
func trim(object any) (any, error) {
	switch o := object.(type) {
	case *v1.ResNetTrainingJob:
		o.ManagedFields, o.Annotations = nil, nil
		if o.Status.CompletionTime != nil {
			o.Spec = v1.ResNetTrainingJobSpec{
				ManagedBy: o.Spec.ManagedBy, TTLSecondsAfterFinished: o.Spec.TTLSecondsAfterFinished,
			}
		}
	case *batchv1.Job:
		trimJob(o)
	case *corev1.Pod:
		trimPod(o)
	}
	return object, nil
}

func trimJob(j *batchv1.Job) {
	j.ManagedFields, j.Annotations = nil, nil
	made := j.Spec.Template.Annotations[childjob.AnnotationJob] // for edited
	j.Spec = batchv1.JobSpec{Suspend: j.Spec.Suspend}
	if made != "" && !childjob.JobHas(j, batchv1.JobComplete) && !childjob.JobHas(j, batchv1.JobFailed) {
		j.Spec.Template.Annotations = map[string]string{childjob.AnnotationJob: made}
	}
}

func trimPod(p *corev1.Pod) {
	p.ObjectMeta = metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion,
		CreationTimestamp: p.CreationTimestamp, DeletionTimestamp: p.DeletionTimestamp, OwnerReferences: p.OwnerReferences,
		Labels: map[string]string{
			childjob.LabelJobName:                p.Labels[childjob.LabelJobName],
			batchv1.JobCompletionIndexAnnotation: p.Labels[batchv1.JobCompletionIndexAnnotation],
		},
	}
	var containers []corev1.Container
	for _, c := range p.Spec.Containers {
		if c.Name == childjob.ContainerName {
			limits := corev1.ResourceRequirements{Limits: c.Resources.Limits}
			containers = append(containers, corev1.Container{Name: c.Name, Image: c.Image, Resources: limits})
		}
	}
	p.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName, Containers: containers}
	s := p.Status
	p.Status = corev1.PodStatus{
		Phase: s.Phase, Conditions: s.Conditions, Message: s.Message, Reason: s.Reason,
		PodIP: s.PodIP, StartTime: s.StartTime,
		InitContainerStatuses: trimStatuses(s.InitContainerStatuses), ContainerStatuses: trimStatuses(s.ContainerStatuses),
	}
}

func trimStatuses(all []corev1.ContainerStatus) (trimmed []corev1.ContainerStatus) {
	for _, c := range all {
		trimmed = append(trimmed, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: c.Ready, State: c.State})
	}
	return trimmed
}
