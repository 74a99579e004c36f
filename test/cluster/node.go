package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// nodeCommand is how `up` starts its own executable as process 1 of the node's namespaces.
const nodeCommand = "node"

// nodeLink is the node's end of the cable to the host.
const nodeLink = "node0"

// runNode turns the fresh namespaces that it was started in into a node, and keeps its components running for ever.
// Killing this process kills everything in the namespaces with it: that is how `down` stops the node.
func runNode(dir string) error {
	logf("node starts in %s", dir)
	if err := mountNode(dir); err != nil {
		return err
	}
	if err := connect(); err != nil {
		return err
	}
	s := newSupervisor("/var/log", nodePath())
	go startAll(s)
	s.reap()
	return nil
}

// startAll starts the components, those that others need first: the rest would only exit and be restarted until the
// API server answers.
func startAll(s *supervisor) {
	for _, p := range foundation() {
		s.keep(p)
	}
	if err := waitForPort("127.0.0.1:2379", time.Minute); err != nil {
		logf("etcd does not answer: %v", err)
	}
	s.keep(apiServerProcess())
	if err := waitForPort(nodeIP+":6443", time.Minute); err != nil {
		logf("kube-apiserver does not answer: %v", err)
	}
	for _, p := range clients() {
		s.keep(p)
	}
}

// connect gives the node its host name and its network: the loopback and the cable that `up` plugs in.
func connect() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := net.InterfaceByName(nodeLink); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("network link %s did not appear", nodeLink)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", nodeIP + "/30", "dev", nodeLink},
		{"link", "set", nodeLink, "up"},
		{"route", "add", "default", "via", hostIP},
	} {
		if err := run("ip", args...); err != nil {
			return err
		}
	}
	// This sysctl belongs to the network namespace: the host's own stays as it is.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// nodePath finds our components first, then runc, nft and the CNI plugins' helpers, wherever a shell's PATH pointed.
func nodePath() string {
	return nodeBin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

func waitForPort(address string, limit time.Duration) error {
	return waitFor(limit, func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// waitFor calls check until it succeeds; after the limit it returns the check's last complaint.
func waitFor(limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// run executes a command and returns what it said, if it fails.
func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", commandLine(name, args), err, out)
	}
	return nil
}

func logf(format string, args ...any) {
	fmt.Printf(time.Now().Format("15:04:05.000 ")+format+"\n", args...)
}

func etcFile(elem ...string) string {
	return filepath.Join(append([]string{nodeEtc}, elem...)...)
}
