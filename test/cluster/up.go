package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// up makes the cluster run, whatever was before: it returns at once if the cluster is healthy, and otherwise clears
// away what is left of an earlier run and starts anew. A run begins with an empty etcd.
func (c *cluster) up() error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkHost(); err != nil {
		return err
	}
	if c.alive() {
		// A component that just died is back within seconds: do not throw the cluster away for that.
		if err := waitFor(5*time.Second, c.healthy); err == nil {
			fmt.Println("cluster is up already")
			c.describe()
			return nil
		}
		fmt.Println("an unhealthy cluster runs: starting anew")
	}
	began := time.Now()
	if err := c.clear(); err != nil {
		return err
	}
	if err := c.checkNetwork(); err != nil {
		return err
	}
	if err := checkDisk(c.dir, 4); err != nil {
		return err
	}
	if err := c.buildPrograms(); err != nil {
		return err
	}
	if err := c.ownImages(); err != nil {
		return err
	}
	if err := c.start(); err != nil {
		return fmt.Errorf("%w\nlogs are in %s", err, filepath.Join(c.dir, "logs"))
	}
	fmt.Printf("cluster is up after %.1f s\n", time.Since(began).Seconds())
	c.describe()
	return nil
}

// needed are the host's programs that the cluster runs; packages.sh installs them.
var needed = []string{"ip", "nft", "containerd", "ctr", "runc", "containerd-shim-runc-v2"}

func checkHost() error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs root, for namespaces and mounts: use sudo, or `make demo CLUSTER=kind`")
	}
	addSystemPath()
	for _, name := range needed {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is missing: run hack/packages.sh", name)
		}
	}
	if !exists("/usr/lib/cni/ptp") {
		return errors.New("/usr/lib/cni/ptp is missing: run hack/packages.sh")
	}
	return nil
}

// start takes the node from nothing to a healthy cluster with everything that the demo uses.
func (c *cluster) start() error {
	done := c.step("start the node")
	for dir, mode := range map[string]os.FileMode{
		c.node("run"): 0o755, c.node("lib"): 0o755,
		filepath.Join(c.dir, "logs"): 0o700, // they tell what runs here, and are for nobody else of this machine
	} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	if err := c.configure(); err != nil {
		return err
	}
	if err := createCgroups(); err != nil {
		return err
	}
	pid, err := c.startNode()
	if err != nil {
		return err
	}
	if err := c.plug(pid); err != nil {
		return err
	}
	// Images can go in while the control plane starts, MinIO's first.
	own, others := make(chan error, 1), make(chan error, 1)
	go func() {
		own <- c.importImages(c.ownArchives())
		others <- c.importImages(c.otherArchives())
	}()
	if err := c.await(func() error { return c.apply("addons.yaml") }); err != nil {
		return err
	}
	if err := c.await(c.nodeReady); err != nil {
		return err
	}
	done()
	done = c.step("start MinIO")
	if err := <-own; err != nil {
		return err
	}
	if err := c.apply("minio.yaml"); err != nil {
		return err
	}
	if err := c.await(c.healthy); err != nil {
		return err
	}
	done()
	done = c.step("load images")
	if err := <-others; err != nil {
		return err
	}
	done()
	return nil
}

// await repeats a check until it succeeds, as long as there is hope.
func (c *cluster) await(check func() error) error {
	return waitFor(time.Minute, func() error {
		err := check()
		if err != nil && !c.alive() {
			return fmt.Errorf("the node died: %s", tail(c.logFile("node"), 1))
		}
		return err
	})
}

// startNode starts process 1 of the node. It is in a session of its own and holds none of our files, so it outlives
// this program and its terminal.
func (c *cluster) startNode() (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(c.logFile("node"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(self, nodeCommand, c.dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the node (may this user create mount, network and process namespaces?): %w", err)
	}
	// If it dies while we wait for it to work, alive must see that, rather than a zombie.
	go cmd.Wait()
	return cmd.Process.Pid, c.remember(cmd.Process.Pid)
}

// healthy tells whether the node and MinIO are ready, and names are resolved.
func (c *cluster) healthy() error {
	out, err := c.kubectl("get", "node/"+nodeName, "deployment/minio", "--namespace=minio", "--request-timeout=2s",
		`--output=jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{.status.conditions[?(@.type=="Available")].status} {end}`)
	if err != nil {
		return err
	}
	if out != "True True " {
		return fmt.Errorf("the node or MinIO is not ready (%q)", out)
	}
	return resolverAnswers()
}

func (c *cluster) nodeReady() error {
	out, err := c.kubectl("get", "node", nodeName, `--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	if err == nil && out != "True" {
		err = errors.New("the node is not ready")
	}
	return err
}

func resolverAnswers() error {
	conn, err := net.DialTimeout("tcp", nodeIP+":53", time.Second)
	if err != nil {
		return fmt.Errorf("CoreDNS: %w", err)
	}
	return conn.Close()
}

// apply applies one of the embedded manifests.
func (c *cluster) apply(name string) error {
	text, err := manifest(name)
	if err != nil {
		return err
	}
	cmd := exec.Command(c.bin("kubectl"), "--kubeconfig", c.kubeconfig(), "apply", "--server-side", "--filename=-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apply %s: %w\n%s", name, err, out)
	}
	return nil
}

func (c *cluster) kubectl(args ...string) (string, error) {
	cmd := exec.Command(c.bin("kubectl"), append([]string{"--kubeconfig", c.kubeconfig()}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", args[0], err, stderr.String())
	}
	return string(out), nil
}
