package main

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// class makes a StorageClass until the test ends.
func (e *env) class(name string, mode storagev1.VolumeBindingMode, annotations map[string]string) {
	e.t.Helper()
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Provisioner: "example.com/none",
		VolumeBindingMode: &mode}
	e.must(e.kube.Create(e.t.Context(), class))
	e.t.Cleanup(func() { e.must(e.kube.Delete(context.Background(), class)) })
}

// What a job on claims waits for is said before it is created, and by check.
func TestClaims(t *testing.T) {
	e := newEnv(t)
	if _, out, _ := e.run("check"); !strings.Contains(out, "there is no StorageClass: a claim such as that of config/samples/first.yaml waits") {
		t.Error(out)
	}
	e.class("slow", storagev1.VolumeBindingImmediate, nil)
	e.class("fast", storagev1.VolumeBindingWaitForFirstConsumer, nil)
	claim := func(name string, class *string, phase corev1.PersistentVolumeClaimPhase) {
		t.Helper()
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name},
			Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}}}
		e.must(e.kube.Create(t.Context(), c))
		c.Status = corev1.PersistentVolumeClaimStatus{Phase: phase, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}}
		e.must(e.kube.Status().Update(t.Context(), c))
	}
	claim("bound", nil, corev1.ClaimBound)
	claim("lost", nil, corev1.ClaimLost)
	claim("classless", nil, corev1.ClaimPending)
	claim("static", new(""), corev1.ClaimPending)
	claim("misspelt", new("fsat"), corev1.ClaimPending)
	claim("on-demand", new("fast"), corev1.ClaimPending)
	claim("at-work", new("slow"), corev1.ClaimPending)
	file := func(claim string) string {
		return write(t, "job.yaml", strings.ReplaceAll(`
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: net}
spec:
  dataset: {format: Synthetic}
  storage: {uri: "file:///models"}
  template:
    volumes: [{name: models, persistentVolumeClaim: {claimName: CLAIM}}]
    volumeMounts: [{name: models, mountPath: /models}]
`, "CLAIM", claim))
	}
	for name, want := range map[string]string{
		"bound":     "ok       volumes     the claim bound has a volume of 2Gi",
		"lost":      "FAILED   volumes     the claim lost has lost its volume",
		"classless": "FAILED   volumes     the claim classless has no volume: it names no StorageClass, and the cluster has no default one",
		"static":    "FAILED   volumes     the claim static has no volume: its storageClassName is empty",
		"misspelt":  "FAILED   volumes     the claim misspelt has no volume: there is no StorageClass fsat",
		"on-demand": "ok       volumes     the claim on-demand gets its volume when a pod mounts it (StorageClass fast)",
		"at-work":   "warning  volumes     the claim at-work has no volume yet, which StorageClass slow is to make",
		"nobody":    "FAILED   volumes     there is no PersistentVolumeClaim nobody in namespace " + e.ns,
	} {
		_, out, _ := e.run("check", "-f", file(name))
		if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%s: want %q in\n%s", name, want, out)
		}
		code, out, errOut := e.run("create", "--dry-run", "-f", file(name))
		if code != 0 || strings.HasPrefix(want, outcomeFailed) != strings.HasPrefix(errOut, "warning: ") {
			t.Errorf("create on %s: exit code %d\n%s%s", name, code, out, errOut)
		}
	}
	if _, out, _ := e.runAs("nobody", "check"); !strings.Contains(out, "you may not list StorageClasses") {
		t.Error(out)
	}
	if _, out, _ := e.run("check"); !strings.Contains(out, "no StorageClass is the default one") || !strings.Contains(out, "of fast, slow") {
		t.Error(out)
	}
	e.class("standard", storagev1.VolumeBindingImmediate, map[string]string{defaultClass: "true"})
	if _, out, _ := e.run("check"); !strings.Contains(out, "StorageClass standard makes those of claims that name none") {
		t.Error(out)
	}
	job := &v1.ResNetTrainingJob{}
	if names := claimsOf(job); names != nil {
		t.Errorf("claims of a job without a template: %q", names)
	}
}
