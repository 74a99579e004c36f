package group

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// newsPatience is how long a node hears nothing from node 0 until it takes it for gone.
const newsPatience = 2 * time.Minute

// hostLink is a connection from node 0, which was started so.
type hostLink struct {
	net.Conn
	shape shape
}

// attend waits for node 0 to connect to this one, and for its news.
func (m *meeting) attend(ctx context.Context) error {
	for m.hear(ctx, 0); ; {
		if err := m.seek(ctx); err != nil {
			return err
		}
		select {
		case link := <-m.node.links:
			done, err := m.listenTo(ctx, link)
			if done {
				m.links[0] = link.Conn
				return err
			}
			link.Close()
			if err := ctx.Err(); err != nil {
				return err
			}
			m.hear(ctx, 0)
		case <-time.After(m.nextPause()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// seek finds the record of node 0, if that is another process than before, and leaves one beside it.
func (m *meeting) seek(ctx context.Context) error {
	owner, err := m.Owner(ctx)
	if err != nil || owner == "" {
		return err
	}
	if owner == m.owner {
		return m.lookAtOwn(ctx)
	}
	first, err := m.read(ctx, owner, 0)
	if err != nil || first == nil {
		return err
	}
	if err := m.node.place.encryptsAs(0, first); err != nil {
		return errors.Join(err, m.write(ctx, owner, m.node.place.Node(), m.node.own())) // node 0 sees why
	}
	if m.owner != "" {
		m.remove(ctx, m.owner, m.node.place.Node())
	}
	m.node.know(0, first)
	m.owner = owner
	return m.write(ctx, owner, m.node.place.Node(), m.node.own())
}

// lookAtOwn finds out whether the record of this node is still its own.
func (m *meeting) lookAtOwn(ctx context.Context) error {
	number := m.node.place.Node()
	rec, err := m.read(ctx, m.owner, number)
	if err != nil || rec == nil || rec.Fingerprint == m.node.identity.fingerprint {
		return err
	}
	m.owner = "" // the record is for the other one to remove
	return exit.Errorf(contract.ExitConfig, "another process was started with --node-rank %d as well, and takes part in the place "+
		"of this one: each node of a training needs its own", number)
}

// listenTo takes the news of node 0 until all nodes have come, or none will. If it is not done, node 0 has gone.
func (m *meeting) listenTo(ctx context.Context, link hostLink) (done bool, err error) {
	defer context.AfterFunc(ctx, func() { link.SetDeadline(time.Now()) })()
	p := m.node.place
	if writeFrame(link, p.shape()) != nil {
		return false, nil
	}
	if err := p.alike(0, link.shape); err != nil {
		return true, err
	}
	for {
		var n news
		link.SetDeadline(time.Now().Add(newsPatience))
		if readFrame(link, &n) != nil {
			return false, nil
		}
		m.hear(ctx, n.Come)
		switch {
		case n.Code == contract.ExitFenced: // there is another node 0
			return false, nil
		case n.Code == contract.ExitStopped:
			return true, exit.Errorf(contract.ExitStopped, "node 0 was stopped")
		case n.End != "":
			return true, exit.Errorf(contract.ExitPeerLost, "node 0 ended with exit code %d: %s", n.Code, n.End)
		case n.Nodes != nil:
			for number, rec := range n.Nodes {
				m.node.know(number, rec)
			}
			return true, link.SetDeadline(time.Time{})
		}
		if writeFrame(link, true) != nil {
			return false, nil
		}
	}
}
