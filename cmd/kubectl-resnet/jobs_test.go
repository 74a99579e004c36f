package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

func TestListOutputs(t *testing.T) {
	e := newEnv(t)
	if _, _, errOut := e.run("list"); !strings.Contains(errOut, "There are no jobs in namespace "+e.ns) {
		t.Errorf("no jobs: %q", errOut)
	}
	e.setStatus(e.createJob("flowers", func(j *v1.ResNetTrainingJob) { j.Labels = map[string]string{"team": e.ns} }), training(1))
	e.createJob("birds", nil)
	for _, c := range []struct {
		args string
		want string
	}{
		{"list -o name", "resnettrainingjob.training.resnet-operator.dev/flowers\nresnettrainingjob.training.resnet-operator.dev/birds\n"},
		{"list --state running -o name", "resnettrainingjob.training.resnet-operator.dev/flowers\n"},
		{"ls -l team=" + e.ns + " -o jsonpath={.items[*].metadata.name}", "flowers"},
		{"list -A -l team=" + e.ns + " --state Running -o jsonpath={.items[*].status.display.epoch}", "1/3"},
	} {
		if got := e.ok(strings.Fields(c.args)...); got != c.want {
			t.Errorf("%s: %q", c.args, got)
		}
	}
	if out := e.ok("list", "-o", "yaml"); !strings.Contains(out, "kind: ResNetTrainingJobList") && !strings.Contains(out, "kind: List") {
		t.Errorf("yaml: %s", out)
	}
	if out := e.ok("list", "--no-headers"); strings.Contains(out, "NAME") || !strings.Contains(out, "flowers") {
		t.Error(out)
	}
	if out := e.ok("__complete", "describe", ""); !strings.Contains(out, "flowers") || !strings.Contains(out, "birds") {
		t.Errorf("completion: %s", out)
	}
	if out := e.ok("__complete", "suspend", "birds", ""); !strings.Contains(out, "flowers") || strings.Contains(out, "birds") {
		t.Errorf("completion: %s", out)
	}
	if out := e.ok("watch", "--once"); !strings.Contains(out, "2 jobs  1 Running") || !strings.Contains(out, "flowers") {
		t.Errorf("watch: %s", out)
	}
}

func TestSuspendAndResume(t *testing.T) {
	e := newEnv(t)
	a, b := e.createJob("a", nil), e.createJob("b", nil)
	e.setStatus(a, training(1))
	if out := e.ok("suspend", "a", "resnetjob/b"); out != "a suspended\nb suspended\n" {
		t.Errorf("%q", out)
	}
	e.must(e.kube.Get(t.Context(), client.ObjectKeyFromObject(a), a))
	if !a.Spec.Suspend {
		t.Error("it is not suspended")
	}
	if out := e.ok("suspend", "a"); out != "a is suspended already\n" {
		t.Errorf("%q", out)
	}
	if out := e.ok("resume", "a"); out != "a resumed\n" {
		t.Errorf("%q", out)
	}
	if out := e.ok("resume", "a"); out != "a is not suspended: it is Running\n" {
		t.Errorf("%q", out)
	}
	_, _, done := e.begin("suspend", "a", "--wait")
	e.setStatus(a, func(s *v1.ResNetTrainingJobStatus) { s.State = v1.StateSuspended })
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Error("suspend --wait does not end")
	}
	e.setStatus(b, endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "done"))
	e.fails([]string{"suspend", "b"}, "b has Succeeded: there is nothing to suspend")
	code, _, errOut := e.run("suspend", "nobody", "b", "a")
	if code != 1 || strings.Count(errOut, "error: ") != 2 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestRetry(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", nil)
	e.setStatus(job, training(1))
	e.fails([]string{"retry", "flowers"}, "flowers is Running: only a job that failed is retried; the operator goes on with it by itself")
	e.setStatus(job, endedAs(v1.StateFailed, v1.ConditionFailed, v1.ReasonDiverged, "diverged"))
	e.fails([]string{"retry", "flowers", "--weights-only"}, "flowers left no checkpoint")
	at := "s3://models/" + contract.JobPrefix(e.ns, "flowers", string(job.UID)) + "/checkpoints/00001-00000100-a1"
	e.setStatus(job, func(s *v1.ResNetTrainingJobStatus) {
		s.Checkpoint = &v1.CheckpointStatus{Name: "00001-00000100-a1", URI: at, Time: metav1.Now()}
	})
	e.fails([]string{"retry", "flowers", "--set", "training.epochs=5"}, "spec.training.epochs was 20 and is now 5, so that it is another training",
		"--weights-only or --from-scratch")
	e.fails([]string{"retry", "flowers", "--set", "training.epochs=none"}, "spec.training.epochs")
	if out := e.ok("retry", "flowers", "--dry-run", "-o", "jsonpath={.metadata.name} {.spec.resumeFrom.uri}"); out != "flowers-2 "+at {
		t.Errorf("%q", out)
	}
	if out := e.ok("retry", "flowers", "--set", "resources.memory=8Gi"); !strings.HasPrefix(out, "flowers-2 created") {
		t.Errorf("%q", out)
	}
	next := &v1.ResNetTrainingJob{}
	e.must(e.kube.Get(t.Context(), types.NamespacedName{Namespace: e.ns, Name: "flowers-2"}, next))
	if f := next.Spec.ResumeFrom; f == nil || f.URI != at || f.WeightsOnly || next.Spec.Resources.Memory.String() != "8Gi" {
		t.Errorf("%+v", next.Spec)
	}
	if out := e.ok("retry", "flowers", "--from-scratch", "--set", "training.epochs=5", "--dry-run", "-o",
		"jsonpath={.metadata.name} {.spec.resumeFrom}"); out != "flowers-3 " {
		t.Errorf("%q", out)
	}
}

const jobFile = `
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: net}
spec:
  dataset: {format: Synthetic}
  storage: {uri: s3://models, s3: {credentialsSecret: {name: account}}}
`

func TestCreate(t *testing.T) {
	e := newEnv(t)
	file := write(t, "job.yaml", jobFile)
	e.fails([]string{"create"}, "Give its file: -f job.yaml")
	e.fails([]string{"create", "-f", file, "--set", "training.epoch=3"}, file, `unknown field "spec.training.epoch": did you mean`)
	e.fails([]string{"create", "-f", file, "--set", "training.epochs=-1"}, "spec.training.epochs")
	e.fails([]string{"create", "-f", file, "--set", "metadata.namespace=other", "-n", e.ns}, "metadata.namespace is other")
	code, out, errOut := e.run("create", "-f", file, "--dry-run", "-o", "jsonpath={.metadata.namespace} {.spec.training.epochs}")
	if code != 0 || out != e.ns+" 20" || !strings.Contains(errOut, "warning: there is no Secret account") {
		t.Errorf("exit code %d: %q %q", code, out, errOut)
	}
	if out := e.ok("create", "-f", file, "--dry-run"); out != "net could be created (dry run)\n" {
		t.Errorf("%q", out)
	}
	if out := e.ok("create", "-f", file); !strings.HasPrefix(out, "net created; kubectl resnet watch net") {
		t.Errorf("%q", out)
	}
	e.fails([]string{"create", "-f", file}, `there is a job "net" in namespace `+e.ns+" already", "--set metadata.name=")
}

// A cluster without the operator, and a user without rights, get one line that says what to do.
func TestWhatIsMissing(t *testing.T) {
	e := newEnv(t)
	e.createJob("flowers", nil)
	e.fails([]string{"describe", "roses"}, `there is no job "roses" in this namespace`, "list -A")
	e.fails([]string{"describe", "pod/roses"}, `"pod/roses" is no ResNetTrainingJob`)
	file := write(t, "job.yaml", jobFile)
	every := [][]string{{"list"}, {"describe", "flowers"}, {"logs", "flowers"}, {"suspend", "flowers"}, {"watch", "--once"},
		{"watch", "flowers", "--once"}, {"resume", "flowers"}, {"retry", "flowers"}, {"report", "flowers"}, {"get-model", "flowers"},
		{"predict", "flowers", file, "--trainer", "true"}, {"compare", "flowers", "flowers"}, {"create", "-f", file}}
	for _, args := range every {
		code, out, errOut := e.runAs("nobody", args...)
		e.failed(strings.Join(args, " "), code, out, errOut, "cannot", "ask for the right", "kubectl resnet check")
	}
	without := httptest.NewServer(nil) // 404 for everything, as for a kind that the API server does not know
	defer without.Close()
	for _, args := range every {
		code, out, errOut := e.run(append(args, "--server", without.URL)...)
		e.failed(strings.Join(args, " "), code, out, errOut, "the cluster has no ResNetTrainingJob: the operator is not installed")
	}
	code, out, errOut := e.run("list", "--server", "http://127.0.0.1:1")
	e.failed("list", code, out, errOut, "the API server at 127.0.0.1:1 cannot be reached")
}

// A thousand jobs are listed whole, though the API server sends them in pages.
func TestAThousandJobs(t *testing.T) {
	e := newEnv(t)
	const n = 1001
	const clients = 16
	var all sync.WaitGroup
	for first := range clients {
		all.Go(func() {
			for i := first; i < n && !t.Failed(); i += clients {
				job := &v1.ResNetTrainingJob{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: fmt.Sprintf("net-%d", i)}}
				job.Spec.Dataset.Format, job.Spec.Storage.URI = v1.Synthetic, "s3://models"
				if err := e.kube.Create(t.Context(), job); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for args, want := range map[string]int{"list": n + 1, "list --no-headers": n, "list -o name": n, "watch --once": n + 2, "__complete describe net-": n + 1} {
		started := time.Now()
		out := e.ok(strings.Fields(args)...)
		if got := strings.Count(out, "\n"); got != want {
			t.Errorf("%s: %d lines, want %d", args, got, want)
		}
		t.Logf("%s takes %s", args, time.Since(started).Round(time.Millisecond))
	}
	if out := e.ok("watch", "--once"); !strings.HasPrefix(out, "1,001 jobs\n") {
		t.Error(out[:80])
	}
	e.must(e.kube.DeleteAllOf(t.Context(), &v1.ResNetTrainingJob{}, client.InNamespace(e.ns)))
}

// An empty bucket is no riddle: each command says what is not there, and why.
func TestEmptyBucket(t *testing.T) {
	e := newEnv(t)
	s3 := e.bucket()
	for _, name := range []string{"flowers", "birds"} {
		e.setStatus(e.createJob(name, inBucket(s3)), endedAs(v1.StateFailed, v1.ConditionFailed, v1.ReasonInvalidData, "no images"))
	}
	e.fails([]string{"get-model", "flowers"}, "flowers has no model: it has Failed (no images)")
	e.fails([]string{"report", "flowers"}, "flowers has no report: it has Failed (no images)")
	e.fails([]string{"logs", "flowers"}, "the log of attempt 1 of flowers is lost")
	e.fails([]string{"predict", "flowers", write(t, "a.jpg", ""), "--trainer", "true"}, "flowers has no model: it has Failed (no images)")
	e.fails([]string{"describe", "flowers", "--bucket"}, "is empty")
	if out := e.ok("watch", "flowers", "--once"); !strings.Contains(out, "flowers  Failed") || !strings.Contains(out, "no images") {
		t.Error(out)
	}
	code, out, errOut := e.run("compare", "flowers", "birds")
	if code != 0 || !strings.Contains(errOut, "no curves of flowers: ") || !strings.Contains(errOut, "is empty") {
		t.Errorf("compare: exit code %d\n%s%s", code, out, errOut)
	}
}

// bucket is a MinIO that is a Service of the cluster, with its account in a Secret.
func (e *env) bucket() *v1.S3Spec {
	e.t.Helper()
	s3 := storetest.MinIO(e.t)
	pod := e.pod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "minio-0", Labels: map[string]string{"app": "minio"}}}, "minio", isRunning)
	e.listen(pod, 9001, s3.Endpoint)
	e.must(e.kube.Create(e.t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "minio"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "minio"},
			Ports: []corev1.ServicePort{{Port: 9000, TargetPort: intstr.FromInt32(9001)}}}}))
	e.must(e.kube.Create(e.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "account"},
		StringData: map[string]string{"AWS_ACCESS_KEY_ID": storetest.AccessKey, "AWS_SECRET_ACCESS_KEY": storetest.SecretKey}}))
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		e.t.Setenv(name, "") // the Secret is the only way
	}
	return &v1.S3Spec{Endpoint: "http://minio." + e.ns + ".svc:9000", Region: s3.Region,
		CredentialsSecret: &corev1.LocalObjectReference{Name: "account"}}
}

// put writes a file into the folder of a job, by the server's own address.
func (e *env) put(job *v1.ResNetTrainingJob, key, content string) {
	e.t.Helper()
	e.kubelet.mu.Lock()
	address := e.ports[e.ns+"/minio-0:9001"]
	e.kubelet.mu.Unlock()
	st, err := store.OpenBy("s3://"+storetest.Bucket, &v1.S3Spec{Endpoint: "http://" + address, Region: "us-east-1"},
		store.Access{Account: store.Account{AccessKeyID: storetest.AccessKey, SecretAccessKey: storetest.SecretKey}})
	e.must(err)
	e.must(store.WriteAll(e.t.Context(), store.Sub(st, contract.JobPrefix(job.Namespace, job.Name, string(job.UID))), key, []byte(content)))
}

func inBucket(s3 *v1.S3Spec) func(*v1.ResNetTrainingJob) {
	return func(j *v1.ResNetTrainingJob) {
		j.Spec.Storage = v1.StorageSpec{URI: "s3://" + storetest.Bucket, S3: s3}
	}
}

func TestLogsOverAttempts(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", inBucket(e.bucket()))
	e.fails([]string{"logs", "flowers"}, "attempt 1 of flowers has no log yet: the job is not seen by the operator yet; -f waits for it")
	out, errOut, done := e.begin("logs", "flowers", "-f")
	e.eventually(errOut, "waiting: the job is not seen by the operator yet")

	first := e.createPod(job, 1, isRunning)
	e.setStatus(job, training(1))
	e.output(first).write("one\n", false)
	e.eventually(out, "one\n")
	if got := e.ok("logs", "flowers"); got != "one\n" {
		t.Errorf("%q", got)
	}
	e.output(first).write("last of the first\n", true)
	e.eventually(out, "last of the first\n")

	// The second attempt leaves its log in the bucket before anybody looks at its pod.
	e.put(job, contract.LogKey(2), "a\nb\n")
	e.setStatus(job, training(3))
	e.eventually(errOut, "attempt 2:\n")
	e.eventually(out, "a\nb\n")
	third := e.createPod(job, 3, isRunning)
	e.output(third).write("three\n", true)
	e.eventually(out, "three\n")
	e.setStatus(job, endedAs(v1.StateSucceeded, v1.ConditionComplete, v1.ReasonSucceeded, "the model is saved"))
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end with the job")
	}
	if got := out.String(); got != "one\nlast of the first\na\nb\nthree\n" {
		t.Errorf("printed %q", got)
	}
	e.eventually(errOut, "the job has Succeeded: the model is saved")

	if got := e.ok("logs", "flowers", "--attempt", "2", "--tail", "1"); got != "b\n" {
		t.Errorf("%q", got)
	}
	e.must(e.kube.Delete(t.Context(), first, client.GracePeriodSeconds(0)))
	code, all, lost := e.run("logs", "flowers", "--all")
	if code != 0 || all != "a\nb\nthree\n" || !strings.Contains(lost, "the log of attempt 1 of flowers is lost") {
		t.Errorf("exit code %d: %q %q", code, all, lost)
	}
	e.fails([]string{"logs", "flowers", "--attempt", "1"}, "is lost: its pod is gone")
	e.fails([]string{"logs", "flowers", "--attempt", "9"}, "there is no attempt 9 of flowers: it has made 3")
	e.fails([]string{"logs", "flowers", "--attempt", "0"}, "attempts count from 1")
}

func TestWatchShowsLiveCurves(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", inBucket(e.bucket()))
	e.setStatus(job, training(1))
	pod := e.createPod(job, 1, isRunning)
	tracker := progress.NewTracker(contract.Progress{UID: string(job.UID), Attempt: 1, Epoch: 4, Epochs: 9, Step: 450, Steps: 900, LR: 0.01})
	trainer := httptest.NewServer(tracker.Handler())
	defer trainer.Close()
	e.listen(pod, contract.Port, trainer.URL)
	h := exampleHistory(4)
	tracker.SetHistory(h.Steps, h.Epochs)
	picture := e.ok("watch", "flowers", "--once")
	for _, want := range []string{"epoch 4/9", "step 450/900", " 50%", "\nloss   ─ training   * test\n", "\naccuracy\n", "learning rate", "lr 0.01"} {
		if !strings.Contains(picture, want) {
			t.Errorf("no %q in\n%s", want, picture)
		}
	}
	if strings.Contains(picture, "not live") || strings.Contains(picture, "\x1b") {
		t.Error(picture)
	}

	// Another job's trainer, and a bucket with nothing.
	tracker.Update(func(p *contract.Progress) { p.UID = "another" })
	picture = e.ok("watch", "flowers", "--once")
	for _, want := range []string{"no curves: ", "is empty"} {
		if !strings.Contains(picture, want) {
			t.Errorf("no %q in\n%s", want, picture)
		}
	}
	e.put(job, contract.MetricsKey(1), `{"epoch":1,"step":100,"trainLoss":2,"testLoss":1.5,"accuracy":0.5}`+"\n"+
		`{"epoch":2,"step":200,"trainLoss":1,"testLoss":0.5,"accuracy":0.75}`+"\n")
	picture = e.ok("watch", "flowers", "--once")
	for _, want := range []string{"not live, but up to the last epoch: ", "trains another job", "\nloss ", "step 200", "75%"} {
		if !strings.Contains(picture, want) {
			t.Errorf("no %q in\n%s", want, picture)
		}
	}

	// Elsewhere than on a terminal it prints lines, and ends with the job.
	out, _, done := e.begin("watch", "flowers", "--interval", "100ms")
	e.eventually(out, "flowers  Running  epoch 1/3  loss 0.5000  accuracy 80.00%\n")
	e.setStatus(job, endedAs(v1.StateFailed, v1.ConditionFailed, v1.ReasonDiverged, "the loss is NaN"))
	select {
	case code := <-done:
		if code != 1 || !strings.Contains(out.String(), "flowers  Failed  epoch 1/3  loss 0.5000  accuracy 80.00%  the loss is NaN\n") {
			t.Errorf("exit code %d: %s", code, out)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not end with the job")
	}
}

// A user of the ClusterRole view sees jobs and logs, but may not read the Secret.
func TestUserWhoMayOnlyLook(t *testing.T) {
	e := newEnv(t)
	job := e.createJob("flowers", inBucket(e.bucket()))
	e.setStatus(job, training(1))
	e.createPod(job, 1, isRunning)
	e.must(e.kube.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "view"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1.GroupVersion.Group}, Resources: []string{jobsResource}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"pods", "services"}, Verbs: []string{"get", "list", "watch"}},
	}}))
	e.must(e.kube.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "view"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "view"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "guest"}}}))
	code, out, errOut := e.runAs("guest", "watch", "flowers", "--once")
	if code != 0 || !strings.Contains(out, "no curves: you may not read the Secret account in namespace "+e.ns) {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	code, out, errOut = e.runAs("guest", "describe", "flowers")
	if code != 0 || !strings.Contains(out, "Events:\n  not known:") || !strings.Contains(out, "flowers-1-0-x") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	code, out, errOut = e.runAs("guest", "suspend", "flowers")
	e.failed("suspend", code, out, errOut, `cannot patch resource "resnettrainingjobs"`)
}
