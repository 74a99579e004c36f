//go:build unix

package store

import (
	"os"
	"syscall"
)

// flock locks a file until it is closed: EWOULDBLOCK if another process has it, unless it is to wait.
func flock(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	return syscall.Flock(int(f.Fd()), how)
}
