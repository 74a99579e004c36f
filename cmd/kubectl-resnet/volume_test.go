package main

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// onClaim is a job whose results are on a claim, with a Job of its attempt, as the operator makes it.
func (e *env) onClaim(name string) *v1.ResNetTrainingJob {
	e.t.Helper()
	job := e.createJob(name, func(j *v1.ResNetTrainingJob) {
		j.Spec.Storage.URI = "file:///models/team"
		j.Spec.Template = &v1.PodTemplate{
			Volumes: []v1.Volume{
				{Name: "data", EmptyDir: &corev1.EmptyDirVolumeSource{}},
				{Name: "models", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "models"}}},
			VolumeMounts: []v1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "models", MountPath: "/models", SubPath: "x"}},
		}
	})
	child, err := childjob.Build(job, 1, childjob.Defaults{Image: "registry/trainer:1"})
	e.must(err)
	e.must(e.kube.Create(e.t.Context(), child))
	e.setStatus(job, endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "done"))
	return job
}

// readers are the pods that read volumes in the namespace of the test.
func (e *env) readers() []corev1.Pod {
	e.t.Helper()
	var pods corev1.PodList
	e.must(e.kube.List(e.t.Context(), &pods, client.InNamespace(e.ns), client.MatchingLabels{"app.kubernetes.io/name": "resnet-reader"}))
	return pods.Items
}

// playReaders plays the kubelet of each reader, which serves a folder of this machine, until the test ends.
func (e *env) playReaders(folder string) (seen func() []corev1.Pod) {
	e.t.Helper()
	root, err := os.OpenRoot(folder)
	e.must(err)
	server := httptest.NewServer(store.Handler(root))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []corev1.Pod, 1)
	go func() {
		var started []corev1.Pod
		for ctx.Err() == nil {
			var pods corev1.PodList
			_ = e.kube.List(ctx, &pods, client.InNamespace(e.ns), client.MatchingLabels{"app.kubernetes.io/name": "resnet-reader"})
			for _, pod := range pods.Items {
				if pod.Spec.NodeName != "" {
					continue
				}
				started = append(started, *pod.DeepCopy())
				binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}}
				_ = e.kube.SubResource("binding").Create(ctx, &pod, binding)
				_ = e.kube.Get(ctx, client.ObjectKeyFromObject(&pod), &pod)
				pod.Status.Phase = corev1.PodRunning
				e.listen(&pod, childjob.ReaderPort, server.URL)
				_ = e.kube.Status().Update(ctx, &pod)
			}
			time.Sleep(20 * time.Millisecond)
		}
		done <- started
	}()
	stopped := false
	stop := func() (pods []corev1.Pod) {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		pods = <-done
		server.Close()
		root.Close()
		return pods
	}
	e.t.Cleanup(func() { stop() })
	return stop
}

// Results on a claim are read by a pod that is as restricted as the trainer's, reads only, and is gone afterwards.
func TestResultsOnAVolume(t *testing.T) {
	e := newEnv(t)
	job := e.onClaim("flowers")
	folder := t.TempDir()
	put := func(key, content string) {
		file := filepath.Join(folder, contract.JobPrefix(job.Namespace, job.Name, string(job.UID)), key)
		e.must(os.MkdirAll(filepath.Dir(file), 0o700))
		e.must(os.WriteFile(file, []byte(content), 0o600))
	}
	put(contract.ReportJSONKey, `{"job":{"uid":"`+string(job.UID)+`"}}`)
	put(contract.ReportKey, "<html>")
	put(contract.LogKey(1), "a line\n")
	stop := e.playReaders(folder)
	dir := t.TempDir()
	if out := e.ok("report", "flowers", "-d", dir); out != filepath.Join(dir, "report.html")+"\n" {
		t.Error(out)
	}
	if out := e.ok("logs", "flowers"); out != "a line\n" {
		t.Errorf("%q", out)
	}
	if out := e.ok("describe", "flowers", "--bucket"); !strings.Contains(out, "report/") {
		t.Error(out)
	}
	e.fails([]string{"get-model", "flowers"}, "has no model, though the job has Succeeded")
	if left := e.readers(); len(left) > 0 {
		t.Errorf("%d readers are left", len(left))
	}
	pods := stop()
	if len(pods) != 4 {
		t.Fatalf("%d readers", len(pods))
	}
	pod := pods[0].Spec
	c := pod.Containers[0]
	if c.Image != "registry/trainer:1" || *pod.AutomountServiceAccountToken || !*pod.SecurityContext.RunAsNonRoot ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || !*c.SecurityContext.ReadOnlyRootFilesystem ||
		*c.SecurityContext.AllowPrivilegeEscalation || pod.ActiveDeadlineSeconds == nil || pods[0].OwnerReferences[0].UID != job.UID {
		t.Errorf("%+v", pods[0])
	}
	if len(pod.Volumes) != 1 || pod.Volumes[0].PersistentVolumeClaim.ClaimName != "models" || len(c.VolumeMounts) != 1 ||
		!c.VolumeMounts[0].ReadOnly || c.VolumeMounts[0].SubPath != "x" || len(c.Env)+len(c.EnvFrom) > 0 {
		t.Errorf("%+v", pod)
	}
}

// What keeps a volume from being read is said, and nothing is left behind.
func TestVolumesThatCannotBeRead(t *testing.T) {
	e := newEnv(t)
	job := e.onClaim("flowers")
	code, out, errOut := e.runAs("nobody", "report", "flowers")
	e.failed("without rights", code, out, errOut, "nobody", "cannot")

	// Ctrl-C while it waits for a node.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(e.readers()) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		cancel()
	}()
	p := e.plugin()
	c, err := p.connect()
	e.must(err)
	if _, _, err := c.openVolume(ctx, job); err == nil || ctx.Err() == nil {
		t.Errorf("%v", err)
	}
	if left := e.readers(); len(left) > 0 {
		t.Errorf("%d readers are left", len(left))
	}

	e.must(e.kube.DeleteAllOf(t.Context(), &batchv1.Job{}, client.InNamespace(e.ns), client.PropagationPolicy("Background")))
	e.fails([]string{"report", "flowers"}, "no pod or Job of flowers is left that says by which image")
}

// Errors that client-go tells its log, as those of a port-forward that is tried again, are not for the terminal.
func TestClientsLogIsQuiet(t *testing.T) {
	before := os.Stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = write
	utilruntime.HandleErrorWithLogger(klog.Background(), errors.New("an error"), "forwarding")
	klog.Error("another")
	klog.Flush()
	os.Stderr = before
	write.Close()
	if said, err := io.ReadAll(read); err != nil || len(said) > 0 {
		t.Errorf("%q, %v", said, err)
	}
}
