package group

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group/internal/collective"
)

// Local are the processes of a group on one node. The first of them is this one, which has started the others. They
// talk over loopback, and over pairs of sockets that only they have.
type Local struct {
	place    *Place
	children []*child
	over     sync.Once
}

type child struct {
	rank int
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

const (
	// envProcess tells a process that it is rank "3/4/2": of four, with two on each node.
	envProcess = "RESNET_PROCESS"
	// linkFile is its socket to the first process of its node.
	linkFile = 3
	// endPatience is how long processes may take to end by themselves.
	endPatience = time.Second
)

// StartLocal starts the other processes of the node whose first one p is, each by a new command, given its number from 1.
//
// Errors: exit code 64 if this program was built without Gloo.
func StartLocal(p *Place, command func(number int) *exec.Cmd) (*Local, error) {
	if !collective.Available {
		return nil, errNoGloo()
	}
	l := &Local{place: p}
	p.links = map[int]net.Conn{}
	for rank := p.Rank + 1; rank < p.Rank+p.PerNode; rank++ {
		c := &child{rank: rank, cmd: command(rank - p.Rank), done: make(chan struct{})}
		conn, err := c.start(p)
		if err != nil {
			l.kill()
			return nil, fmt.Errorf("starting rank %d of %d: %w", rank, p.Size, err)
		}
		p.links[rank] = conn
		l.children = append(l.children, c)
		go l.watch(c)
	}
	return l, nil
}

func errNoGloo() error {
	return exit.Errorf(contract.ExitConfig, "this trainer was built without Gloo, and trains in one process only: use the "+
		"project's image for CPUs")
}

// start starts a process, and returns the connection to it.
func (c *child) start(p *Place) (net.Conn, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "rank"), os.NewFile(uintptr(pair[1]), "rank")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	if c.cmd.Env == nil {
		c.cmd.Env = os.Environ()
	}
	c.cmd.Env = append(c.cmd.Env, fmt.Sprintf("%s=%d/%d/%d", envProcess, c.rank, p.Size, p.PerNode))
	c.cmd.ExtraFiles = []*os.File{theirs}
	return conn, c.cmd.Start()
}

// watch waits for the end of a process. If that is none of those that all come to, the others get a moment to end too.
func (l *Local) watch(c *child) {
	c.err = c.cmd.Wait()
	close(c.done)
	if c.err == nil || c.code() == contract.ExitStopped {
		return
	}
	l.over.Do(func() {
		if c.code() < 0 {
			slog.Error(fmt.Sprintf("rank %d of %d: %v", c.rank, l.place.Size, c.err))
		}
		time.AfterFunc(endPatience, l.kill)
	})
}

// code is the exit code of a process that has ended; -1 if it was a signal.
func (c *child) code() contract.ExitCode { return contract.ExitCode(c.cmd.ProcessState.ExitCode()) }

func (l *Local) kill() {
	for _, c := range l.children {
		c.cmd.Process.Kill()
	}
}

// Wait waits for the other processes, once the first has ended with err: not long, unless they have the same end before
// them. It returns what the node has ended with: where the first has lost another process of it, that one's exit code.
func (l *Local) Wait(err error) error {
	patience := contract.GracePeriod
	if code := exit.Code(err); code != contract.ExitDone && code != contract.ExitStopped {
		patience = endPatience
	}
	timer := time.AfterFunc(patience, l.kill)
	defer timer.Stop()
	for _, c := range l.children {
		<-c.done
	}
	if exit.Code(err) != contract.ExitPeerLost {
		return err
	}
	for _, c := range l.children {
		switch code := c.code(); code {
		case contract.ExitDone, contract.ExitStopped, contract.ExitPeerLost, -1:
		default:
			return exit.Errorf(code, "%w", err)
		}
	}
	return err
}

// FromEnvironment returns the place of a process that StartLocal has started; nil if it has not.
func FromEnvironment() (*Place, error) {
	value, ok := os.LookupEnv(envProcess)
	if !ok {
		return nil, nil
	}
	p := &Place{}
	if n, _ := fmt.Sscanf(value, "%d/%d/%d", &p.Rank, &p.Size, &p.PerNode); n != 3 || p.PerNode < 1 || p.Rank < 1 ||
		p.Rank >= p.Size || p.Rank == p.firstOf(p.Node()) {
		return nil, exit.Errorf(contract.ExitConfig, "%s is %q: unset it, it is for processes that trainer train "+
			"--processes starts", envProcess, value)
	}
	file := os.NewFile(linkFile, "first process")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%s is set, but there is no connection to the process that did: unset it, and use "+
			"trainer train --processes: %w", envProcess, err)
	}
	p.links = map[int]net.Conn{p.firstOf(p.Node()): conn}
	os.Unsetenv(envProcess)
	return p, nil
}
