package checkpoint

import (
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// TestOwner: other processes of an attempt learn who owns it: never an older attempt or an earlier process.
func TestOwner(t *testing.T) {
	m := memory{}
	owner := func(attempt int32) string {
		t.Helper()
		return must(Owner(t.Context(), m, testJob(), attempt))
	}
	if got := owner(0) + owner(1); got != "" {
		t.Errorf("before there is any: %s", got)
	}
	first := open(t, m, 1)
	mine := must(first.Owner(t.Context()))
	if owner(0) != mine || owner(1) != mine || owner(2) != "" {
		t.Errorf("%s owns; any: %s, attempt 1: %s, attempt 2: %s", mine, owner(0), owner(1), owner(2))
	}
	again := must(open(t, m, 1).Owner(t.Context())) // another process under the same number
	if owner(1) != again || again == mine {
		t.Errorf("%s owns after %s; attempt 1: %s", again, mine, owner(1))
	}
	if _, err := first.Owner(t.Context()); exit.Code(err) != contract.ExitFenced {
		t.Errorf("the earlier process: %v", err)
	}
	open(t, m, 2)
	if _, err := Owner(t.Context(), m, testJob(), 1); exit.Code(err) != contract.ExitFenced {
		t.Errorf("the older attempt: %v", err)
	}
}

// TestOwnerIsNoPath: a name of another making leads nowhere.
func TestOwnerIsNoPath(t *testing.T) {
	m := memory{}
	c := open(t, m, 1)
	replace(m, contract.LatestKey, c.owner, "../../../elsewhere")
	if got := must(Owner(t.Context(), m, testJob(), 1)); got != "" {
		t.Error(got)
	}
}
