package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// What keeps a pod from starting is in the condition within seconds; once it is mended, the job trains, at no cost.
func TestWhatAJobWaitsForIsTold(t *testing.T) {
	createUntilTheEnd(t, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "e2e-quota"}})
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "team"},
		Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")},
			ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{
				ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn, Values: []string{"e2e-quota"},
			}}},
		},
	}
	createUntilTheEnd(t, quota)
	eventually(t, time.Minute, func() error { // the quota counts once it is counted
		out := kubectl(t, "get", "resourcequota", "team", "-o", "jsonpath={.status.hard.pods}")
		if out != "0" {
			return fmt.Errorf("the quota's status is %q", out)
		}
		return nil
	})
	// A claim that no StorageClass makes a volume for, and a folder of this machine that will be its volume.
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	access := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	createUntilTheEnd(t, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "no-volume"},
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: access, StorageClassName: new(""), Resources: corev1.VolumeResourceRequirements{Requests: size}}})
	folder := forPods(t)
	edit := func(name, spec string) func(t *testing.T) {
		return func(t *testing.T) { kubectl(t, "patch", "resnetjob", name, "--type=merge", "-p", `{"spec":`+spec+`}`) }
	}
	for name, c := range map[string]struct {
		spec string
		want []string // reason and parts of the message
		mend func(t *testing.T)
	}{
		"no-such-image": {
			steady + "\nimage: registry.invalid/trainer:none",
			[]string{"ImagePullFailed: ", "registry.invalid/trainer:none", "spec.image"},
			edit("no-such-image", `{"image":null}`),
		},
		"no-such-node": {
			steady + "\ntemplate: {nodeSelector: {pool: a100}}",
			[]string{"Unschedulable: ", "no node fits the pod", "node affinity/selector"},
			edit("no-such-node", `{"template":null}`),
		},
		"no-gpu-here": {
			steadily + inBucket + "\nresources: {gpus: 1, cpu: 200m, memory: 1Gi}",
			[]string{"Unschedulable: ", "nvidia.com/gpu"},
			edit("no-gpu-here", `{"resources":{"gpus":0}}`),
		},
		"missing-secret": {
			steadily + strings.Replace(inBucket, "s3-credentials", "nobody-made-this", 1) + onLittle,
			[]string{"PodConfigError: ", "nobody-made-this", "spec.storage.s3.credentialsSecret"},
			func(t *testing.T) { createUntilTheEnd(t, s3Secret("nobody-made-this", secretKey)) },
		},
		"no-volume": {
			steadily + onLittle + `
storage: {uri: "file:///models"}
template:
  volumes: [{name: models, persistentVolumeClaim: {claimName: no-volume}}]
  volumeMounts: [{name: models, mountPath: /models}]`,
			[]string{"Unschedulable: ", "a claim has no volume: kubectl -n " + namespace + " describe pvc no-volume"},
			func(t *testing.T) {
				createUntilTheEnd(t, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "e2e-no-volume"}, Spec: corev1.PersistentVolumeSpec{
					Capacity: size, AccessModes: access, ClaimRef: &corev1.ObjectReference{Namespace: namespace, Name: "no-volume"},
					PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
				}})
			},
		},
		"over-quota": {
			steady + "\ntemplate: {priorityClassName: e2e-quota}",
			[]string{"PodRefused: ", "exceeded quota: team", "limited: pods=0"},
			func(t *testing.T) { kubectl(t, "delete", "resourcequota", "team") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := begin(t, name, c.spec)
			told := waitForMessage(t, name, v1.StatePending, c.want...)
			// A busy kubelet says at first that its cache of Secrets is not ready, and looks again after up to 15 s.
			if took := time.Since(job.CreationTimestamp.Time); took > 30*time.Second {
				t.Errorf("told after %s, want seconds", took)
			}
			t.Log(say(told))
			c.mend(t)
			got := waitForState(t, name, v1.StateRunning, 2*time.Minute)
			if s := got.Status; s.Failures+s.Disruptions != 0 {
				t.Errorf("failures %d, disruptions %d: want none", s.Failures, s.Disruptions)
			}
		})
	}
}

// A job does not wait for ever if it was told so.
func TestStartDeadline(t *testing.T) {
	t.Parallel()
	begin(t, "never-starts", steady+"\nstartDeadlineSeconds: 10\ntemplate: {nodeSelector: {pool: a100}}")
	job := waitForMessage(t, "never-starts", v1.StateFailed, "StartDeadlineExceeded: ", "spec.startDeadlineSeconds of 10", "no node fits the pod")
	if took := job.Status.CompletionTime.Sub(job.Status.StartTime.Time); took < 10*time.Second || took > 30*time.Second {
		t.Errorf("failed after %s, want 10 s", took)
	}
	waitUntilNoPodIsLeft(t, "never-starts")
}

// The whole job has taken too long. It may save what it has.
func TestActiveDeadline(t *testing.T) {
	t.Parallel()
	begin(t, "too-slow", steady)
	job := waitForState(t, "too-slow", v1.StateRunning, 2*time.Minute)
	if keys := objects(t, prefixOf(job)+"checkpoints/"); len(keys) > 0 {
		t.Fatalf("there are checkpoints before the end of the first epoch: %v", keys)
	}
	kubectl(t, "patch", "resnetjob", "too-slow", "--type=merge", `-p={"spec":{"activeDeadlineSeconds":1}}`)
	waitForMessage(t, "too-slow", v1.StateFailed, "ActiveDeadlineExceeded: ", "spec.activeDeadlineSeconds of 1 is over")
	waitUntilNoPodIsLeft(t, "too-slow")
	if keys := objects(t, prefixOf(job)+"checkpoints/"); len(keys) == 0 {
		t.Error("the pod has saved nothing")
	}
}
