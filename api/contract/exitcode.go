package contract

// ExitCode of the trainer. Codes from 64 on follow sysexits.h where it has a word for the case.
type ExitCode int

const (
	// ExitDone: trained to the end, everything saved.
	ExitDone ExitCode = 0
	// ExitUnexpected: any other error; retried.
	ExitUnexpected ExitCode = 1
	// ExitConfig: the configuration is wrong; not retried.
	ExitConfig ExitCode = 64
	// ExitData: the data is wrong; not retried.
	ExitData ExitCode = 65
	// ExitStorage: the storage was away or full after all tries, or refuses credentials that it took before; retried.
	ExitStorage ExitCode = 69
	// ExitDiverged: loss or gradients are not finite; not retried.
	ExitDiverged ExitCode = 70
	// ExitFenced: a newer attempt owns the job. The end of an attempt that is not the newest is nobody's concern; should
	// the newest one end like this, it is retried.
	ExitFenced ExitCode = 74
	// ExitStopped: stopped on SIGTERM after saving; retried at no cost.
	ExitStopped ExitCode = 75
	// ExitPeerLost: another process of the attempt ended or does not answer. Never a cause by itself: that process has one.
	ExitPeerLost ExitCode = 76
)

// Permanent reports whether another attempt would end the same way.
func (c ExitCode) Permanent() bool {
	return c == ExitConfig || c == ExitData || c == ExitDiverged
}
