package checkpoint

// Which checkpoint is the best follows from the history alone, so that it does not depend on when a run was interrupted:
// it is the first one of the highest score among those that are due after an epoch that was tested. One that was saved for another reason,
// because the run was told to stop or after some minutes, is never the best.

// Due reports whether a checkpoint is due now, between two epochs: after every so many of them, and after the first one
// of a job that went on from another training.
func (m Meta) Due(every int32) bool { return m.StepInEpoch == 0 && m.due(m.Epoch, every) }

func (m Meta) due(epoch, every int32) bool { return epoch%every == 0 || epoch == m.Began }

// IsBest reports whether a checkpoint of this state is better than those of all earlier epochs after which one was due.
// ended says that this is the state at the end of the training, which always gets one.
func (m Meta) IsBest(every int32, ended bool) bool {
	last := len(m.History) - 1
	if last < 0 || m.StepInEpoch > 0 || !m.History[last].Tested() || !ended && !m.Due(every) {
		return false
	}
	for _, e := range m.History[:last] {
		if e.Tested() && e.Epoch >= m.Began && m.due(e.Epoch, every) && beats(e, m.History[last]) {
			return false
		}
	}
	return true
}
