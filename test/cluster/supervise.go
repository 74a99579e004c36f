package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// supervisor starts the components again when they die, and buries the orphans of the process namespace, as its
// process 1 must. Both take the same wait call, hence not os/exec's.
type supervisor struct {
	logs string
	path string

	mu      sync.Mutex
	running map[int]process
}

func newSupervisor(logs, path string) *supervisor {
	os.Setenv("PATH", path)
	return &supervisor{logs: logs, path: path, running: map[int]process{}}
}

// keep starts a component; reap will restart it whenever it ends.
func (s *supervisor) keep(p process) {
	s.mu.Lock() // so that reap cannot meet the child's end before its beginning is noted
	defer s.mu.Unlock()
	pid, err := s.start(p)
	if err != nil {
		logf("%s: %v; another try in %v", p.name, err, restartDelay)
		time.AfterFunc(restartDelay, func() { s.keep(p) })
		return
	}
	logf("%s runs as process %d", p.name, pid)
	s.running[pid] = p
}

// restartDelay keeps a component that cannot start from burning the machine.
const restartDelay = time.Second

func (s *supervisor) start(p process) (pid int, err error) {
	program, err := exec.LookPath(p.name)
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(filepath.Join(s.logs, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return syscall.ForkExec(program, append([]string{p.name}, p.args...), &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=" + s.path, "HOME=/root"},
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// reap never returns.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil { // no child at the moment, or interrupted
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		p, ours := s.running[pid]
		delete(s.running, pid)
		s.mu.Unlock()
		if ours {
			logf("%s (process %d) ended: exit status %d, signal %d; restarting", p.name, pid, status.ExitStatus(), status.Signal())
			time.AfterFunc(restartDelay, func() { s.keep(p) })
		}
	}
}
