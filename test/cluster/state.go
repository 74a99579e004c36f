package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lock makes commands on the same directory wait for each other.
func (c *cluster) lock() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	return func() { file.Close() }, nil
}

// remember notes the node's process. Its start time belongs to its identity: numbers are used again.
func (c *cluster) remember(pid int) error {
	began, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("the node died at once; see %s", c.logFile("node"))
	}
	return writeFile(c.node("pid"), fmt.Sprintf("%d %s\n", pid, began))
}

// pid is the node's process 1 as the host sees it, or 0 if it does not run.
func (c *cluster) pid() int {
	text, err := os.ReadFile(c.node("pid"))
	if err != nil {
		return 0
	}
	number, began, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	if now, err := startTime(pid); err != nil || now != began {
		return 0
	}
	return pid
}

func (c *cluster) alive() bool { return c.pid() != 0 }

// startTime is field 22 of /proc/PID/stat, in clock ticks since boot. A zombie counts as gone.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the name in parentheses, and may hold spaces.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", os.ErrProcessDone
	}
	return fields[19], nil
}

// clear ends what runs and removes what one run leaves. The kernel does most of it: with process 1 go all processes of
// the node, with the last of them its mounts, interfaces, firewall and routes.
func (c *cluster) clear() error {
	if pid := c.pid(); pid != 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		if err := waitFor(20*time.Second, c.gone); err != nil {
			return err
		}
	}
	if owner := hostLinkOwner(); owner == "" || owner == shorten(c.dir, 255) {
		if err := removeLink(); err != nil {
			return err
		}
		if err := removeCgroups(); err != nil {
			return err
		}
	}
	for _, path := range []string{c.node(), filepath.Join(c.dir, "logs"), c.kubeconfig()} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) gone() error {
	if c.alive() {
		return errors.New("the node's process does not end")
	}
	return nil
}

// tail is the end of a file, to show with an error.
func tail(path string, count int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), count)
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
