package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/test/syncbuffer"
)

// TestMain stops what the tests started. The test program is the plugin, too, by its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "kubectl-resnet" {
		main()
	}
	quietLogs()
	ctrllog.SetLogger(logr.Discard())
	code := m.Run()
	if server.env != nil {
		_ = server.env.Stop()
	}
	os.Exit(code)
}

// server is one API server for all tests, which the first of them starts.
var server struct {
	once    sync.Once
	env     *envtest.Environment
	config  *rest.Config
	kubelet *kubelet
	err     error
}

// env is one test's namespace.
type env struct {
	t    *testing.T
	ns   string
	kube client.Client
	*kubelet
}

// newEnv is for tests that need an API server: they are skipped without one, but not in CI.
func newEnv(t *testing.T) *env {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("KUBEBUILDER_ASSETS must name the folder of etcd and kube-apiserver in CI")
		}
		t.Skip("KUBEBUILDER_ASSETS is not set: use make test-unit")
	}
	server.once.Do(func() {
		server.env = &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd"}, ErrorIfCRDPathMissing: true}
		if server.config, server.err = server.env.Start(); server.err == nil {
			server.kubelet, server.err = startKubelet()
		}
	})
	if server.err != nil {
		t.Fatal(server.err)
	}
	c, err := client.New(server.config, client.Options{Scheme: allKinds()})
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, kube: c, kubelet: server.kubelet}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	e.must(c.Create(t.Context(), ns))
	e.ns = ns.Name
	e.kubelet.register(t, c)
	return e
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// kubeconfig of a user with all rights, or, if it is not "", of one that is impersonated.
func (e *env) kubeconfig(user string) string {
	e.t.Helper()
	path := filepath.Join(e.t.TempDir(), "kubeconfig")
	c := api.NewConfig()
	c.Clusters["test"] = &api.Cluster{Server: server.config.Host, CertificateAuthorityData: server.config.CAData}
	c.AuthInfos["test"] = &api.AuthInfo{ClientCertificateData: server.config.CertData, ClientKeyData: server.config.KeyData,
		Impersonate: user}
	c.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "test", Namespace: e.ns}
	c.CurrentContext = "test"
	e.must(clientcmd.WriteToFile(*c, path))
	return path
}

// plugin of a user with all rights.
func (e *env) plugin() *plugin {
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = new(e.kubeconfig(""))
	return &plugin{IOStreams: genericclioptions.NewTestIOStreamsDiscard(), flags: flags}
}

// run runs the plugin, as a user with all rights.
func (e *env) run(args ...string) (code int, out, errOut string) {
	e.t.Helper()
	return e.runAs("", args...)
}

func (e *env) runAs(user string, args ...string) (code int, out, errOut string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	var o, eo bytes.Buffer
	code = execute(ctx, genericclioptions.IOStreams{In: strings.NewReader(""), Out: &o, ErrOut: &eo},
		append([]string{"--kubeconfig", e.kubeconfig(user)}, args...))
	return code, o.String(), eo.String()
}

// ok runs the plugin, and returns what it prints; it must succeed.
func (e *env) ok(args ...string) string {
	e.t.Helper()
	code, out, errOut := e.run(args...)
	if code != 0 {
		e.t.Fatalf("kubectl resnet %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// fails runs the plugin; it must fail with one line that holds all of the texts.
func (e *env) fails(args []string, texts ...string) {
	e.t.Helper()
	code, out, errOut := e.run(args...)
	e.failed(strings.Join(args, " "), code, out, errOut, texts...)
}

func (e *env) failed(what string, code int, out, errOut string, texts ...string) {
	e.t.Helper()
	if code != 1 || strings.Count(strings.TrimSuffix(errOut, "\n"), "\n") != 0 {
		e.t.Errorf("%s: exit code %d\n%s%s", what, code, out, errOut)
	}
	for _, text := range texts {
		if !strings.Contains(errOut, text) {
			e.t.Errorf("%s: %q says nothing of %q", what, errOut, text)
		}
	}
}

// begin runs the plugin in the background until the test ends.
func (e *env) begin(args ...string) (out, errOut *syncbuffer.Buffer, done <-chan int) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, errOut = &syncbuffer.Buffer{}, &syncbuffer.Buffer{}
	ended := make(chan int, 1)
	finished := make(chan struct{})
	kubeconfig := e.kubeconfig("")
	go func() {
		ended <- execute(ctx, genericclioptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: errOut},
			append([]string{"--kubeconfig", kubeconfig}, args...))
		close(finished)
	}()
	e.t.Cleanup(func() { cancel(); <-finished })
	return out, errOut, ended
}

// eventually waits until a text has come.
func (e *env) eventually(b *syncbuffer.Buffer, text string) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(b.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("no %q in\n%s", text, b.String())
		}
	}
}

// createJob with a name and storage.
func (e *env) createJob(name string, change func(*v1.ResNetTrainingJob)) *v1.ResNetTrainingJob {
	e.t.Helper()
	job := &v1.ResNetTrainingJob{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}}
	job.Spec.Dataset.Format, job.Spec.Storage.URI = v1.Synthetic, "s3://models"
	if change != nil {
		change(job)
	}
	e.must(e.kube.Create(e.t.Context(), job))
	return job
}

// setStatus plays the operator.
func (e *env) setStatus(job *v1.ResNetTrainingJob, change func(*v1.ResNetTrainingJobStatus)) {
	e.t.Helper()
	e.must(e.kube.Get(e.t.Context(), client.ObjectKeyFromObject(job), job))
	before := job.DeepCopy()
	change(&job.Status)
	e.must(e.kube.Status().Patch(e.t.Context(), job, client.MergeFrom(before)))
}

// training is the status of a job that trains.
func training(attempt int32) func(*v1.ResNetTrainingJobStatus) {
	return func(s *v1.ResNetTrainingJobStatus) {
		s.State, s.Attempt = v1.StateRunning, attempt
		s.FirstStepTime = &metav1.Time{Time: time.Now()}
		s.Progress = &v1.ProgressStatus{Epoch: 1, Epochs: 3, Step: 100, Steps: 300}
		s.Display = &v1.DisplayStatus{Epoch: "1/3", Loss: "0.5000", Accuracy: "80.00%"}
		s.Conditions = []metav1.Condition{condition(v1.ConditionProgressing, v1.ReasonTraining, "trains")}
	}
}

func endedAs(state v1.State, kind, reason, text string) func(*v1.ResNetTrainingJobStatus) {
	return func(s *v1.ResNetTrainingJobStatus) {
		s.State, s.Attempt = state, max(1, s.Attempt)
		s.Conditions = []metav1.Condition{condition(kind, reason, text)}
	}
}

func condition(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message,
		LastTransitionTime: metav1.Now()}
}

// createPod of an attempt, on the node of the kubelet. Its trainer runs, or has ended with a word.
func (e *env) createPod(job *v1.ResNetTrainingJob, attempt int32, state corev1.ContainerState) *corev1.Pod {
	e.t.Helper()
	own, err := json.Marshal(map[string]any{"metadata": map[string]string{"uid": string(job.UID)}})
	e.must(err)
	return e.pod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d-0-x", job.Name, attempt),
		Labels:      map[string]string{childjob.LabelJobName: job.Name, childjob.LabelAttempt: fmt.Sprint(attempt)},
		Annotations: map[string]string{childjob.AnnotationJob: string(own)}}}, childjob.ContainerName, state)
}

func (e *env) pod(pod *corev1.Pod, container string, state corev1.ContainerState) *corev1.Pod {
	e.t.Helper()
	pod.Namespace = e.ns
	pod.Spec = corev1.PodSpec{NodeName: nodeName, RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{Name: container, Image: "x"}}}
	e.must(e.kube.Create(e.t.Context(), pod))
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: container, State: state}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}}
	e.must(e.kube.Status().Update(e.t.Context(), pod))
	return pod
}

var isRunning = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", path, diff)
	}
}

// write a file that is gone with the test.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
