package main

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// defaultClass marks the StorageClass of claims that name none.
const defaultClass = "storageclass.kubernetes.io/is-default-class"

// claimsOf a job are the PersistentVolumeClaims that its pods mount.
func claimsOf(job *v1.ResNetTrainingJob) (names []string) {
	if job.Spec.Template == nil {
		return nil
	}
	for _, v := range job.Spec.Template.Volumes {
		if v.PersistentVolumeClaim != nil {
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return names
}

// claim says whether a pod that mounts a claim can start.
func (c *cluster) claim(ctx context.Context, namespace, name string) (outcome, message string) {
	claim, err := c.core.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, getOptions)
	switch {
	case apierrors.IsForbidden(err):
		return outcomeWarning, fmt.Sprintf("you may not get PersistentVolumeClaims in namespace %s: "+
			"whether %s has a volume is not known", namespace, name)
	case apierrors.IsNotFound(err):
		return outcomeFailed, fmt.Sprintf("there is no PersistentVolumeClaim %s in namespace %s, and the pod "+
			"will wait for it: kubectl apply -f creates one that the file of the job holds, as that of config/samples/first.yaml", name, namespace)
	case err != nil:
		return outcomeFailed, explain(err)
	case claim.DeletionTimestamp != nil:
		return outcomeFailed, fmt.Sprintf("the claim %s is being deleted: wait until it is gone, and create it again", name)
	case claim.Status.Phase == corev1.ClaimBound:
		return outcomeOK, fmt.Sprintf("the claim %s has a volume of %s", name, claim.Status.Capacity.Storage())
	case claim.Status.Phase == corev1.ClaimLost:
		return outcomeFailed, fmt.Sprintf("the claim %s has lost its volume %s: create it again", name, claim.Spec.VolumeName)
	}
	return c.pendingClaim(ctx, claim)
}

// pendingClaim says whether a claim without a volume gets one.
func (c *cluster) pendingClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) (outcome, message string) {
	why := fmt.Sprintf("kubectl -n %s describe pvc %s", claim.Namespace, claim.Name)
	if claim.Spec.StorageClassName == nil { // the API server fills in the default one
		return outcomeFailed, fmt.Sprintf("the claim %s has no volume: it names no StorageClass, and the cluster "+
			"has no default one: create it again with spec.storageClassName (kubectl get storageclasses), or ask for a PersistentVolume that fits", claim.Name)
	}
	name := *claim.Spec.StorageClassName
	if name == "" {
		return outcomeFailed, fmt.Sprintf("the claim %s has no volume: its storageClassName is empty, so it waits for a "+
			"PersistentVolume that fits (%s)", claim.Name, why)
	}
	onDemand := storagev1.VolumeBindingWaitForFirstConsumer
	class, err := c.core.StorageV1().StorageClasses().Get(ctx, name, getOptions)
	switch {
	case apierrors.IsNotFound(err):
		return outcomeFailed, fmt.Sprintf("the claim %s has no volume: there is no StorageClass %s: "+
			"kubectl get storageclasses lists those that there are", claim.Name, name)
	case err == nil && class.VolumeBindingMode != nil && *class.VolumeBindingMode == onDemand:
		return outcomeOK, fmt.Sprintf("the claim %s gets its volume when a pod mounts it (StorageClass %s)", claim.Name, name)
	}
	return outcomeWarning, fmt.Sprintf("the claim %s has no volume yet, which StorageClass %s is to make: %s says why",
		claim.Name, name, why)
}

// volumes for claims: those of a job, or else whether a claim gets one that names no StorageClass.
func (x *examination) volumes(ctx context.Context, job *v1.ResNetTrainingJob) {
	const check = "volumes"
	if job != nil {
		for _, name := range claimsOf(job) {
			outcome, message := x.c.claim(ctx, job.Namespace, name)
			x.add(check, outcome, "%s", message)
		}
		return
	}
	classes, err := x.c.core.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		x.add(check, outcomeWarning, "you may not list StorageClasses: whether a claim gets a volume is not known")
		return
	case err != nil:
		x.add(check, outcomeWarning, "%s", explain(err))
		return
	}
	var names []string
	for _, class := range classes.Items {
		if class.Annotations[defaultClass] == "true" {
			x.add(check, outcomeOK, "StorageClass %s makes those of claims that name none", class.Name)
			return
		}
		names = append(names, class.Name)
	}
	if len(names) == 0 {
		x.add(check, outcomeWarning, "there is no StorageClass: a claim such as that of config/samples/first.yaml waits for a "+
			"PersistentVolume that fits")
		return
	}
	x.add(check, outcomeWarning, "no StorageClass is the default one: a claim such as that of config/samples/first.yaml must "+
		"name one (spec.storageClassName) of %s", strings.Join(names, ", "))
}

// warnOfClaims says what the pod of a new job would wait for.
func (p *plugin) warnOfClaims(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob) {
	for _, name := range claimsOf(job) {
		if outcome, message := c.claim(ctx, job.Namespace, name); outcome == outcomeFailed {
			fmt.Fprintln(p.ErrOut, "warning:", message)
		}
	}
}
