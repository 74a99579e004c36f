package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// kernelTunables are host-wide sysctls that the kubelet insists on, with the values that it wants. In the node's mount
// namespace a private file lies over each, so that the kubelet is content and the host's value untouched.
var kernelTunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// mountNode arranges the node's private view of the file system. All mounts live in this mount namespace and end
// with it.
func mountNode(dir string) error {
	// Nothing that is mounted from here on may spread to the host.
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(nodeName)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	// A /run of its own, with the cluster's directory in it under a short name. It is put together beside the
	// directory first, because the directory may itself lie below one of the paths that are covered here.
	staging := filepath.Join(dir, "node", "run")
	if err := mount("tmpfs", staging, "tmpfs", 0); err != nil {
		return err
	}
	short := filepath.Join(staging, filepath.Base(nodeDir))
	if err := os.MkdirAll(short, 0o755); err != nil {
		return err
	}
	if err := mount(dir, short, "", syscall.MS_BIND); err != nil {
		return err
	}
	for _, m := range []struct{ source, target string }{
		{staging, "/run"},
		{nodeDir + "/node/lib", "/var/lib"},
		{nodeDir + "/logs", "/var/log"},
	} {
		if err := mount(m.source, m.target, "", syscall.MS_BIND|syscall.MS_REC); err != nil {
			return err
		}
	}
	// The process namespace is new: show it, not the host's.
	if err := mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC); err != nil {
		return err
	}
	return shieldTunables()
}

func shieldTunables() error {
	for name, value := range kernelTunables {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue
		}
		private := filepath.Join("/run/sysctl", name)
		if err := os.MkdirAll(filepath.Dir(private), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(private, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(private, target, "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr) error {
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}
