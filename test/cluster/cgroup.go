package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hierarchy is one mounted cgroup tree: with cgroup v1 there are several, one for each controller or group of them,
// with v2 there is one, and a hybrid host has both.
type hierarchy struct {
	path        string
	v2          bool
	controllers []string // v1 only
}

// hierarchies reads the cgroup mounts from the format of /proc/self/mountinfo, see proc(5).
func hierarchies(mountinfo io.Reader) ([]hierarchy, error) {
	var found []hierarchy
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(super) < 3 {
			continue
		}
		h := hierarchy{path: mount[4], v2: super[0] == "cgroup2"}
		if super[0] == "cgroup" {
			h.controllers = strings.Split(super[2], ",")
		} else if !h.v2 {
			continue
		}
		if !slices.ContainsFunc(found, func(other hierarchy) bool { return other.path == h.path }) {
			found = append(found, h)
		}
	}
	return found, lines.Err()
}

func hostHierarchies() ([]hierarchy, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found, err := hierarchies(file)
	if err == nil && len(found) == 0 {
		err = errors.New("no cgroup file system is mounted on this host: the kubelet cannot run without one")
	}
	return found, err
}

// createCgroups makes the cluster's subtree in every hierarchy.
func createCgroups() error {
	all, err := hostHierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h.path, cgroupRoot)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroups are not writable here: %w", err)
		}
		if err := h.prepare(dir); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the new group usable: a v1 cpuset begins empty, and nothing can run in it; in v2 the controllers must
// be handed down from above.
func (h hierarchy) prepare(dir string) error {
	if h.v2 {
		return delegate(h.path)
	}
	if !slices.Contains(h.controllers, "cpuset") {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(h.path, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// delegate switches on, for the children of a v2 root, the controllers that the kubelet needs and that are off. On a
// host with systemd they are all on already; on one where they are not, this is the one thing that stays after `down`,
// since others may have begun to rely on it.
func delegate(root string) error {
	available, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	control := filepath.Join(root, "cgroup.subtree_control")
	enabled, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	for _, name := range []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} {
		if !slices.Contains(strings.Fields(string(available)), name) || slices.Contains(strings.Fields(string(enabled)), name) {
			continue
		}
		if err := os.WriteFile(control, []byte("+"+name), 0o644); err != nil {
			return fmt.Errorf("cgroup controller %s cannot be delegated (are there processes in the root cgroup of a container?): %w", name, err)
		}
	}
	return nil
}

// removeCgroups removes the subtrees. The kernel empties them a moment after the last process died.
func removeCgroups() error {
	all, err := hostHierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h.path, cgroupRoot)
		if err := waitFor(5*time.Second, func() error { return removeTree(dir) }); err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// removeTree removes a cgroup and those below it. Their files cannot be removed, only the directories, from the leaves
// up.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	slices.Reverse(dirs)
	for _, d := range dirs {
		if e := os.Remove(d); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
