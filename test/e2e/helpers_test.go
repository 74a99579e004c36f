package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Labels of child Jobs and pods.
const (
	jobLabel     = childjob.LabelJobName
	attemptLabel = childjob.LabelAttempt
)

// Jobs of a small network that take little of the node, so that many run side by side.
const (
	// steadily: one epoch takes longer than any test, so what is saved was saved because the pod was told to stop.
	steadily = `
model: {widthMultiplier: 0.125}
dataset: {format: Synthetic, maxTrainImages: 4096, maxTestImages: 64}
training: {epochs: 1000, batchSize: 2}`
	inBucket = `
storage: {uri: s3://e2e/jobs, s3: {endpoint: "http://minio.minio:9000", credentialsSecret: {name: s3-credentials}}}`
	onLittle = `
resources: {cpu: 200m, memory: 1Gi}`

	steady = steadily + inBucket + onLittle
	quick  = `
model: {widthMultiplier: 0.125}
dataset: {format: Synthetic, maxTrainImages: 64, maxTestImages: 64}
training: {epochs: 1, batchSize: 32}` + inBucket + onLittle

	// once allows no failure: a disruption that counted as one would be the end of the job.
	once = "\nretry: {maxFailures: 1}"
)

// begin creates a job and deletes it when the test ends; if the test failed, it tells the job's story.
func begin(t *testing.T, name, spec string) *v1.ResNetTrainingJob {
	t.Helper()
	job := newJob(t, name, spec)
	create(t, job)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(kubectl(t, "describe", "resnetjob", name))
			t.Log(kubectl(t, "get", "jobs,pods", "-l", jobLabel+"="+name, "-o", "wide"))
		}
		if err := kube.Delete(context.Background(), job); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return job
}

// createUntilTheEnd creates an object, in place of what a run that was killed has left, and deletes it when the test ends.
func createUntilTheEnd(t *testing.T, o client.Object) {
	t.Helper()
	forget(t, o)
	if err := kube.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(t, o) })
}

// forget deletes an object without mercy.
func forget(t *testing.T, o client.Object) {
	t.Helper()
	if err := kube.Delete(context.Background(), o, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
		t.Error(err)
	}
}

// forPods makes a folder that pods, which are not root, can write into.
func forPods(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, dir := range []string{filepath.Dir(folder), folder} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// waitForMessage waits until the job is in a state and explains it with a message that begins with the first of parts,
// and holds the others.
func waitForMessage(t *testing.T, name string, state v1.State, parts ...string) *v1.ResNetTrainingJob {
	t.Helper()
	var job *v1.ResNetTrainingJob
	eventually(t, 2*time.Minute, func() error {
		job = get(t, name)
		if message := say(job); job.Status.State != state || !strings.HasPrefix(message, parts[0]) || !holds(message, parts) {
			return fmt.Errorf("%s, %s: want %s, %q", job.Status.State, message, state, parts)
		}
		return nil
	})
	return job
}

func holds(message string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(message, part) })
}

// waitForEvent waits for an event of a job, and fails if it is told more than once.
func waitForEvent(t *testing.T, name, reason string, parts ...string) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		var events corev1.EventList
		if err := kube.List(t.Context(), &events, client.InNamespace(namespace), client.MatchingFields{"involvedObject.name": name, "reason": reason}); err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return fmt.Errorf("no event %s; %s", reason, say(get(t, name)))
		}
		if e := events.Items[0]; len(events.Items) > 1 || e.Series != nil {
			t.Fatalf("event %s is told more than once: %v", reason, events.Items)
		} else if !holds(e.Message, parts) {
			t.Fatalf("event %s says %q, want %q", reason, e.Message, parts)
		}
		return nil
	})
}

// waitForAttempt waits until an attempt trains.
func waitForAttempt(t *testing.T, name string, attempt int32) *v1.ResNetTrainingJob {
	t.Helper()
	var job *v1.ResNetTrainingJob
	eventually(t, 2*time.Minute, func() error {
		job = get(t, name)
		if s := job.Status; s.Attempt != attempt || s.State != v1.StateRunning {
			return fmt.Errorf("attempt %d is %s, %s: want %d, Running", s.Attempt, s.State, say(job), attempt)
		}
		return nil
	})
	return job
}

// podOf waits for the pod of an attempt.
func podOf(t *testing.T, name string, attempt int32) *corev1.Pod {
	t.Helper()
	return podOfRank(t, name, attempt, 0)
}

// podOfRank waits for the pod of a node rank.
func podOfRank(t *testing.T, name string, attempt int32, rank int) *corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	eventually(t, time.Minute, func() error {
		err := kube.List(t.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels{
			jobLabel: name, attemptLabel: strconv.Itoa(int(attempt)),
			batchv1.JobCompletionIndexAnnotation: strconv.Itoa(rank),
		})
		if err == nil && len(pods.Items) != 1 {
			err = fmt.Errorf("rank %d of attempt %d of %s has %d pods", rank, attempt, name, len(pods.Items))
		}
		return err
	})
	return &pods.Items[0]
}

// waitUntilGone waits until an object is no more.
func waitUntilGone(t *testing.T, o client.Object) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		err := kube.Get(t.Context(), client.ObjectKeyFromObject(o), o)
		if err == nil {
			return fmt.Errorf("%s is still there", o.GetName())
		}
		return client.IgnoreNotFound(err)
	})
}

// waitUntilNoPodIsLeft waits until the pods of a job have ended and are gone.
func waitUntilNoPodIsLeft(t *testing.T, name string) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if out := kubectl(t, "get", "pods", "-l", jobLabel+"="+name, "-o", "name"); out != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
}

// signalTrainer sends a signal to the trainer of a pod from outside of it. The processes of the local cluster's node, or
// of kind's, are this machine's, and their cgroups have the names of their pods.
func signalTrainer(t *testing.T, pod *corev1.Pod, signal syscall.Signal) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	uid := string(pod.UID)
	for _, file := range files {
		cgroups, _ := os.ReadFile(file) // a process may have ended
		program, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		ofPod := bytes.Contains(cgroups, []byte(uid)) || bytes.Contains(cgroups, []byte(strings.ReplaceAll(uid, "-", "_")))
		if !ofPod || string(program) != "trainer\n" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no process of pod %s is seen here: this test needs a cluster on this machine, and root", pod.Name)
}

// prefixOf is the folder of a job in the bucket.
func prefixOf(job *v1.ResNetTrainingJob) string {
	return "jobs/" + contract.JobPrefix(job.Namespace, job.Name, string(job.UID)) + "/"
}

// restrictedPod does nothing; it passes the restricted standard.
func restrictedPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "pause", Image: "resnet-operator/pause:dev", ImagePullPolicy: corev1.PullNever,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

func s3Secret(name, key string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		StringData: map[string]string{"AWS_ACCESS_KEY_ID": "resnet-demo", "AWS_SECRET_ACCESS_KEY": key},
	}
}

// isGone is true for an object that the API server does not know.
func isGone(o client.Object) bool {
	return apierrors.IsNotFound(kube.Get(context.Background(), client.ObjectKeyFromObject(o), o))
}
