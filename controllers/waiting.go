package controllers

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	// waits stands between a message and what the trainer waits for.
	waits = "; waits since "
	// maxWaiting keeps what a trainer says that it waits for short, in bytes.
	maxWaiting = 512
)

// waitingFor is what the trainer says that it waits for, as the end of a message; "" if it waits for nothing.
func waitingFor(p *contract.Progress, job *v1.ResNetTrainingJob, now time.Time) string {
	if p == nil || p.Waiting == nil {
		return ""
	}
	since := within(p.Waiting.Since, job, now).UTC().Format(time.RFC3339)
	return clean(fmt.Sprintf("%s%s for %s", waits, since, contract.Shorten(p.Waiting.For, maxWaiting)))
}

// sameWait reports whether the status says that the trainer waits for this already.
func (d *decision) sameWait(waiting string) bool {
	said := ""
	if c := meta.FindStatusCondition(d.status.Conditions, v1.ConditionProgressing); c != nil {
		if i := strings.Index(c.Message, waits); i >= 0 {
			said = c.Message[i:]
		}
	}
	return said == waiting
}

func sameWaiting(a, b *contract.Waiting) bool {
	return a == b || a != nil && b != nil && a.For == b.For && a.Since.Equal(b.Since)
}
