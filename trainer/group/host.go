package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// news is what node 0 tells the others until all have come.
type news struct {
	Come  int       `json:"come"`
	Nodes []*record `json:"nodes,omitempty"` // of all nodes, once they have come
	// End is why there will be no training, and Code the exit code of that.
	End  string            `json:"end,omitempty"`
	Code contract.ExitCode `json:"code,omitempty"`
}

// host connects node 0 with all others, and makes them known to each other.
func (m *meeting) host(ctx context.Context) error {
	var err error
	if m.owner, err = m.Owner(ctx); err != nil {
		return err
	}
	if err := m.write(ctx, m.owner, 0, m.node.own()); err != nil {
		return err
	}
	nodes := map[int]*record{0: m.node.own()}
	for m.hear(ctx, 1); m.come < m.node.place.Nodes(); m.hear(ctx, len(m.links)+1) {
		select {
		case <-time.After(m.nextPause()):
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := m.Owner(ctx); err != nil {
			return err
		}
		m.tell(ctx, news{Come: m.come})
		if err := m.visit(ctx, nodes); err != nil {
			return err
		}
	}
	all := make([]*record, len(nodes))
	for number, rec := range nodes {
		all[number] = rec
		m.node.know(number, rec)
	}
	m.tell(ctx, news{Come: len(all), Nodes: all})
	return nil
}

// visit connects to nodes that have left a record and are not connected, and notes their records.
func (m *meeting) visit(ctx context.Context, nodes map[int]*record) error {
	come, err := m.newcomers(ctx, nodes)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for number, rec := range come {
		wg.Go(func() {
			var theirs shape
			conn, err := m.node.connect(ctx, rec, hello{Link: new(m.node.place.shape())}, &theirs)
			mu.Lock()
			defer mu.Unlock()
			if m.away[number] = err; err != nil {
				return // it may have ended, and begin again
			}
			if err := m.welcome(number, conn, theirs); err != nil || number >= m.node.place.Nodes() {
				errs = append(errs, err)
				conn.Close()
				return
			}
			m.links[number], nodes[number] = conn, rec
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// newcomers are the records of nodes that are not connected; of one that is, if it is another process's.
func (m *meeting) newcomers(ctx context.Context, nodes map[int]*record) (map[int]*record, error) {
	numbers, err := m.list(ctx, m.owner)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	come := map[int]*record{}
	for _, number := range numbers {
		if number < 1 {
			continue
		}
		wg.Go(func() {
			rec, err := m.read(ctx, m.owner, number)
			mu.Lock()
			defer mu.Unlock()
			if rec != nil && (m.links[number] == nil || rec.Fingerprint != nodes[number].Fingerprint) {
				come[number], err = rec, m.node.place.encryptsAs(number, rec)
			}
			first = cmp.Or(first, err)
		})
	}
	wg.Wait()
	return come, first
}

// welcome checks a node that has been connected. Errors: exit code 64 if it is not as it should be, which it is told.
func (m *meeting) welcome(number int, conn net.Conn, theirs shape) error {
	if err := m.node.place.alike(number, theirs); err != nil {
		return err // it sees that itself
	}
	before := m.links[number]
	if before == nil {
		return nil
	}
	if say(before, news{Come: m.come}) != nil {
		before.Close() // it was started anew
		return nil
	}
	err := exit.Errorf(contract.ExitConfig, "two processes were started with --node-rank %d: each node of a training needs "+
		"its own, from 0 to %d", number, m.node.place.Nodes()-1)
	say(conn, news{End: err.Error(), Code: exit.Code(err)})
	return err
}

// tell gives news to all that are connected, and forgets those that have ended.
func (m *meeting) tell(ctx context.Context, n news) {
	for number, conn := range m.links {
		if say(conn, n) != nil {
			telemetry.Log(ctx).Info(fmt.Sprintf("node %d has gone", number))
			conn.Close()
			delete(m.links, number)
		}
	}
}

// say gives news to a node, which answers if more will follow.
func say(conn net.Conn, n news) error {
	conn.SetDeadline(time.Now().Add(helloPatience))
	defer conn.SetDeadline(time.Time{})
	if err := writeFrame(conn, n); err != nil || n.Nodes != nil || n.End != "" {
		return err
	}
	return readFrame(conn, new(bool))
}

// end removes the records, which nobody needs any more, and if there will be no training, says why.
func (m *meeting) end(ctx context.Context, err error) {
	if err != nil {
		m.tell(ctx, news{End: err.Error(), Code: exit.Code(err)})
	}
	if m.owner == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removePatience)
	defer cancel()
	nodes, _ := m.list(ctx, m.owner)
	m.remove(ctx, m.owner, nodes...)
}
