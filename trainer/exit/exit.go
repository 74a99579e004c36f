// Package exit gives errors the exit code that the trainer ends with.
package exit

import (
	"context"
	"errors"
	"fmt"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// coded is an error with an exit code.
type coded struct {
	code contract.ExitCode
	err  error
}

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.err }

// Errorf is fmt.Errorf with an exit code. The text names the field, file or key and says what would be right; it goes
// to the termination message and must hold no secret.
func Errorf(code contract.ExitCode, format string, args ...any) error {
	return &coded{code, fmt.Errorf(format, args...)}
}

// Code returns the exit code of err: 0 for nil, that of the outermost Errorf, 75 for a cancelled context, else 1.
func Code(err error) contract.ExitCode {
	var e *coded
	switch {
	case err == nil:
		return contract.ExitDone
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, context.Canceled):
		return contract.ExitStopped
	default:
		return contract.ExitUnexpected
	}
}
