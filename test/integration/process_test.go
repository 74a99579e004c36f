package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/resnet-operator/resnet-operator/controllers"
)

// managerFlags holds the options of a manager, as JSON, that this executable shall be.
const managerFlags = "RESNET_TEST_MANAGER"

// beManager runs a manager in a process of its own, so that it can be killed.
func beManager(flags string) int {
	var o processOptions
	if err := json.Unmarshal([]byte(flags), &o); err != nil {
		panic(err)
	}
	mgr, err := controllers.NewManager(ctrl.GetConfigOrDie(), controllers.Options{
		TrainerImage: "trainer:1", MetricsAddr: "0", ProbeAddr: o.ProbeAddr, Concurrency: 2,
		Namespace: o.Namespace, LeaderElection: true, LeaderElectionNamespace: o.Namespace,
	})
	if err == nil {
		err = mgr.Start(ctrl.SetupSignalHandler())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		return 1
	}
	return 0
}

// processOptions are those of a manager that works, and elects its leader, in one namespace.
type processOptions struct{ Namespace, ProbeAddr string }

// process is a manager that can be killed.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan error
}

// startProcess starts a manager for one namespace as a process.
func (e *env) startProcess(o processOptions) *process {
	e.t.Helper()
	flags, err := json.Marshal(o)
	e.Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), managerFlags+"="+string(flags), "KUBECONFIG="+e.kubeconfig())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	e.Expect(cmd.Start()).To(Succeed())
	p := &process{t: e.t, cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	e.t.Cleanup(p.kill)
	return p
}

// kill is the end that nobody can prepare for.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case err := <-p.done:
		p.done <- err // for whoever asks again
	case <-time.After(10 * time.Second):
		p.t.Error("a killed process does not end")
	}
}

// terminate asks the manager to stop, as the kubelet does, and reports how it ended.
func (p *process) terminate() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(15 * time.Second):
		return fmt.Errorf("still runs")
	}
}

// kubeconfig of the test's API server, in a file.
func (e *env) kubeconfig() string {
	e.t.Helper()
	path := filepath.Join(e.t.TempDir(), "kubeconfig")
	c := api.NewConfig()
	c.Clusters["test"] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos["test"] = &api.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	c.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	e.Expect(clientcmd.WriteToFile(*c, path)).To(Succeed())
	return path
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
