package group

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

var ( // variables for tests
	// meetTimeout is how long nodes wait for each other: pods do not begin at the same time, and have images to fetch.
	meetTimeout = 10 * time.Minute
	// longestPause between two looks into the job's folder; the first ones are shorter.
	longestPause = 2 * time.Second
)

const firstPause = 50 * time.Millisecond

// meeting is a rendezvous under way, on one node. Node 0 looks for the records of the others and connects to them; each
// of them leaves its record once it has found that of node 0.
type meeting struct {
	*Rendezvous
	node  *node
	owner string           // whose folder has the record of this node; "" while none has
	links map[int]net.Conn // to node 0, or from there to the others
	away  map[int]error    // why node 0 has not reached a node that has left its record
	come  int              // nodes that have come, as far as this one knows
	since time.Time
	told  func() // ends the telling of what is waited for
	pause time.Duration
}

// Meet connects the first process of a node with those of the other nodes.
//
// Errors: exit code 64 if the nodes were not started alike, 76 if one does not come in time, 74 if there is a newer
// attempt, 75 if ctx was cancelled, and those of package store.
func (p *Place) Meet(ctx context.Context, r Rendezvous) error {
	n, err := listen(p)
	if err != nil {
		return err
	}
	p.node = n
	m := &meeting{Rendezvous: &r, node: n, links: map[int]net.Conn{}, away: map[int]error{}, come: -1, since: time.Now(),
		told: func() {}, pause: firstPause}
	defer func() { m.told() }()
	limited, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	meet := m.host
	if p.Node() > 0 {
		meet = m.attend
	}
	switch err = meet(limited); {
	case err != nil && ctx.Err() != nil:
		err = ctx.Err()
	case err != nil && limited.Err() != nil:
		err = exit.Errorf(contract.ExitPeerLost, "%s within %v", m.attendance(), meetTimeout)
	}
	if p.Node() == 0 {
		m.end(ctx, err)
	} else if err != nil && m.owner != "" {
		m.remove(ctx, m.owner, p.Node())
	}
	if p.links == nil {
		p.links = map[int]net.Conn{}
	}
	for number, conn := range m.links {
		p.links[p.firstOf(number)] = conn
	}
	return err
}

// hear takes note of how many nodes have come, and says it.
func (m *meeting) hear(ctx context.Context, come int) {
	if come == m.come {
		return
	}
	m.come = come
	m.told()
	if m.come == m.node.place.Nodes() {
		telemetry.Log(ctx).Info(fmt.Sprintf("all %d nodes have come", m.come))
		return
	}
	telemetry.Log(ctx).Info("waiting for other nodes: " + m.attendance())
	m.told = telemetry.Wait(ctx, m.since, "other nodes: "+m.attendance())
}

// nextPause is how long to wait before the next look into the job's folder.
func (m *meeting) nextPause() time.Duration {
	pause := m.pause
	m.pause = min(2*m.pause, longestPause)
	return pause
}

// attendance says for people who has come, and who has not.
func (m *meeting) attendance() string {
	p := m.node.place
	come := fmt.Sprintf("%d of %d nodes have come", m.come, p.Nodes())
	switch {
	case m.come == 0 && m.owner == "":
		return "node 0 has not come"
	case m.come == 0:
		return fmt.Sprintf("node 0 has not connected to this one, node %d at %v", p.Node(), m.node.own().Address)
	case p.Node() > 0:
		return come
	}
	var missing []string
	for number := 1; number < p.Nodes(); number++ {
		switch err := m.away[number]; {
		case m.links[number] != nil:
		case err != nil:
			missing = append(missing, fmt.Sprintf("node %d (%v)", number, err))
		default:
			missing = append(missing, fmt.Sprintf("node %d", number))
		}
	}
	return come + ", without " + strings.Join(missing, ", ")
}
