package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

//go:embed cluster/audit.yaml
var auditPolicy []byte

//go:embed cluster/stages.yaml
var stages []byte

const (
	namespace   = "bench"
	managerUser = "system:serviceaccount:resnet-operator:resnet-operator"
	managerRole = "../../config/rbac/role.yaml"
	crds        = "../../config/crd"
	// podCIDR lies in the loopback network, so that this machine has the address of every pod.
	podCIDR = "127.64.0.0/12"
)

// cluster is a control plane with kwok's nodes.
type cluster struct {
	dir string // for logs and configuration
	bin string // kwok and manager
	// defaults leaves controllers and scheduler the rate at which they ask the API server by default.
	defaults bool
	env      *envtest.Environment
	kube     client.Client
	config   *rest.Config
	http     *http.Client
	procs    []*process
}

// process is a component whose use of the machine is measured.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// startCluster starts all but the manager. Pods end after the given time.
func startCluster(o options, dir string, podLife time.Duration) (*cluster, error) {
	c := &cluster{dir: dir, bin: o.bin, defaults: o.defaults}
	if err := c.start(podLife); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) start(podLife time.Duration) error {
	files := map[string][]byte{
		"audit.yaml":  auditPolicy,
		"stages.yaml": bytes.ReplaceAll(stages, []byte("DURATION"), []byte(strconv.FormatInt(podLife.Milliseconds(), 10))),
	}
	for name, text := range files {
		if err := os.WriteFile(c.file(name), text, 0o644); err != nil {
			return err
		}
	}
	c.env = &envtest.Environment{CRDDirectoryPaths: []string{crds}, ErrorIfCRDPathMissing: true}
	c.env.ControlPlane.GetAPIServer().Configure().
		Set("disable-admission-plugins", "ServiceAccount", "TaintNodesByCondition").
		Append("max-requests-inflight", "2000").Append("max-mutating-requests-inflight", "1000").
		Append("audit-policy-file", c.file("audit.yaml")).Append("audit-log-path", c.file("audit.log")).
		Append("audit-log-mode", "batch")
	cfg, err := c.env.Start()
	if err != nil {
		return fmt.Errorf("start the API server (KUBEBUILDER_ASSETS is the folder of its binaries): %w", err)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	c.config = cfg
	if c.http, err = rest.HTTPClientFor(cfg); err != nil {
		return err
	}
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		return err
	}
	if err := v1.AddToScheme(s); err != nil {
		return err
	}
	if c.kube, err = client.New(cfg, client.Options{Scheme: s}); err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	return c.startComponents()
}

// prepare makes what the load needs: namespace, nodes, the manager's rights.
func (c *cluster) prepare() error {
	text, err := os.ReadFile(managerRole)
	if err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.Unmarshal(text, role); err != nil {
		return err
	}
	objects := []client.Object{role, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "resnet-operator", Name: "resnet-operator"}},
	}}
	objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	for i := range 10 {
		objects = append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i)}})
	}
	for _, o := range objects {
		if err := c.kube.Create(context.Background(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func (c *cluster) startComponents() error {
	admin, err := c.kubeconfig("admin", "system:masters")
	if err != nil {
		return err
	}
	kube := os.Getenv("KUBEBUILDER_ASSETS")
	common := []string{"--kubeconfig=" + admin, "--leader-elect=false", "--secure-port=0"}
	var jobs []string
	if !c.defaults {
		common = append(common, "--kube-api-qps=1000", "--kube-api-burst=2000")
		jobs = []string{"--concurrent-job-syncs=50"}
	}
	for _, args := range [][]string{
		slices.Concat([]string{filepath.Join(kube, "kube-controller-manager"), "--controllers=job-controller,garbage-collector-controller"}, common, jobs),
		slices.Concat([]string{filepath.Join(kube, "kube-scheduler")}, common),
		{filepath.Join(c.bin, "kwok"), "--kubeconfig=" + admin, "--config=" + c.file("stages.yaml"), "--manage-all-nodes", "--cidr=" + podCIDR},
	} {
		if _, err := c.run(args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// startManager starts it with its default flags, and the API server's limits for a ServiceAccount.
func (c *cluster) startManager(pprof string) (*process, error) {
	config, err := c.kubeconfig(managerUser, "system:serviceaccounts")
	if err != nil {
		return nil, err
	}
	args := []string{"--kubeconfig=" + config, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--trainer-image=trainer:bench"}
	if pprof != "" {
		args = append(args, "--pprof-bind-address="+pprof)
	}
	p, err := c.run(filepath.Join(c.bin, "manager"), args...)
	time.Sleep(2 * time.Second) // it fills its caches
	return p, err
}

func (c *cluster) kubeconfig(user string, groups ...string) (string, error) {
	u, err := c.env.AddUser(envtest.User{Name: user, Groups: groups}, &rest.Config{QPS: -1})
	if err != nil {
		return "", err
	}
	text, err := u.KubeConfig()
	if err != nil {
		return "", err
	}
	path := c.file(filepath.Base(groups[0]) + ".kubeconfig")
	return path, os.WriteFile(path, text, 0o600)
}

func (c *cluster) run(path string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(path), cmd: exec.Command(path, args...), done: make(chan struct{})}
	log, err := os.Create(c.file(p.name + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	c.procs = append(c.procs, p)
	return p, nil
}

// check says which component died.
func (c *cluster) check() error {
	for _, p := range c.procs {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: see %s", p.name, c.file(p.name+".log"))
		default:
		}
	}
	return nil
}

func (c *cluster) stop() {
	for _, p := range c.procs {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if c.env != nil {
		_ = c.env.Stop()
	}
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }
