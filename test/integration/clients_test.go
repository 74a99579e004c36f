package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/test/syncbuffer"
)

// The examples are programs that people copy: each applies a job named net and follows it to its end.

func TestTheExampleInGo(t *testing.T) {
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testExample(t, func(e *env) *exec.Cmd {
		return exec.Command(program, "--namespace", e.ns, "--name", "net", "--results", "s3://models")
	})
}

func TestTheExampleInPython(t *testing.T) {
	python := os.Getenv("PYTHON")
	if python == "" {
		t.Skip("PYTHON is not set: use make test-integration")
	}
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, []byte(jobYAML+"  training: {epochs: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	testExample(t, func(e *env) *exec.Cmd {
		return exec.Command(python, "../../examples/python/train.py", "--namespace", e.ns, file)
	})
}

func testExample(t *testing.T, command func(*env) *exec.Cmd) {
	t.Run("succeeds", func(t *testing.T) {
		e := newEnv(t)
		e.startManager()
		tr := serveProgress(t, contract.Progress{
			Attempt: 1, Phase: contract.PhaseTraining, Epoch: 1, Epochs: 5, Step: 10, Steps: 50, Loss: ptr.To(0.5),
			Accuracy: ptr.To(0.8123), ETASeconds: 61, FirstStepTime: ptr.To(time.Now()),
		})
		first := e.startExample(command(e))
		child := e.child("net-1")
		pod := e.createPod(child)
		e.podStatus(pod, ready(tr.ip))
		e.Eventually(first.String).Should(
			ContainSubstring("Running, epoch 1 of 5, step 10 of 50, loss 0.5, accuracy 0.8123, 61 s left\n"))
		e.podStatus(pod, ended(corev1.PodSucceeded, contract.Termination{
			Progress:  &contract.Progress{Attempt: 1, Phase: contract.PhaseDone, Epoch: 5, Epochs: 5, Step: 50, Steps: 50},
			Artifacts: &contract.Artifacts{Root: e.folder(), Model: e.folder() + contract.ModelKey},
		}))
		e.complete(child)
		model := "model: " + e.folder() + contract.ModelKey + "\n"
		e.Expect(<-first.done).To(Succeed(), first.String())
		e.Expect(first.String()).To(HaveSuffix(model))

		before := e.job()
		again := e.startExample(command(e))
		e.Expect(<-again.done).To(Succeed(), again.String())
		e.Expect(again.String()).To(HaveSuffix(model))
		e.Expect(e.job().ResourceVersion).To(Equal(before.ResourceVersion), "applied again, it changes nothing")
	})
	t.Run("fails", func(t *testing.T) {
		e := newEnv(t)
		e.startManager()
		program := e.startExample(command(e))
		e.podStatus(e.createPod(e.child("net-1")), ended(corev1.PodFailed, contract.Termination{
			ExitCode: contract.ExitConfig, Message: `spec.storage.uri: bucket "models" does not exist`}))
		err := <-program.done
		e.Expect(err).To(MatchError("exit status 1"), program.String())
		e.Expect(program.String()).To(ContainSubstring(`InvalidSpec: spec.storage.uri: bucket "models" does not exist`))
	})
}

// example is a program under way.
type example struct {
	syncbuffer.Buffer
	done chan error
}

func (e *env) startExample(cmd *exec.Cmd) *example {
	e.t.Helper()
	kubeconfig := filepath.Join(e.t.TempDir(), "kubeconfig")
	e.Expect(os.WriteFile(kubeconfig, server.KubeConfig, 0o600)).To(Succeed())
	x := &example{done: make(chan error, 1)}
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	cmd.Stdout, cmd.Stderr = x, x
	e.Expect(cmd.Start()).To(Succeed())
	go func() { x.done <- cmd.Wait() }()
	e.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return x
}
