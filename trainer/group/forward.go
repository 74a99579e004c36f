package group

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/trainer/group/internal/collective"
)

// forwarder carries the connections of Gloo between nodes. Gloo itself knows no other machines: it listens on loopback,
// and finds the ranks of other nodes there, where their forwarder stands for them.
type forwarder struct {
	node *node

	mu        sync.Mutex
	closed    bool
	ports     map[pair]uint16 // on which Gloo of a rank of this node awaits one of another
	listeners []net.Listener  // that stand for ranks of other nodes
}

// pair of a rank of this node and one of another.
type pair struct{ here, there int }

// value takes note of where Gloo of a rank listens, if that is what it says. If the rank is of another node, it returns
// where those of this node find it.
func (f *forwarder) value(rank int, key string, value []byte) ([]byte, error) {
	p, a := f.node.place, collective.Addresses(value)
	if p.Plain || !collective.HoldsAddresses(key, rank) {
		return value, nil
	}
	if err := a.Check(p.Size); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.nodeOf(rank) == p.Node() {
		for other := range p.Size {
			if p.nodeOf(other) != p.Node() {
				f.ports[pair{rank, other}] = a.Port(rank, other)
			}
		}
		return value, nil
	}
	for here := p.firstOf(p.Node()); here < p.firstOf(p.Node()+1) && !f.closed; here++ {
		l, err := net.Listen("tcp", netip.AddrPortFrom(loopback(rank), 0).String())
		if err != nil {
			return nil, err
		}
		f.listeners = append(f.listeners, l)
		a.SetPort(rank, here, uint16(l.Addr().(*net.TCPAddr).Port))
		go f.leave(l, pair{here, rank})
	}
	return a, nil
}

// leave carries the connection of a rank of this node to one of another node.
func (f *forwarder) leave(l net.Listener, p pair) {
	local, err := l.Accept()
	l.Close()
	if err != nil {
		return // the other one connects to this one
	}
	remote, err := f.reach(p)
	if err != nil {
		local.Close()
		return
	}
	carry(local, remote)
}

// reach connects to a rank of another node, whose node may have no time for this one at first.
func (f *forwarder) reach(p pair) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
	defer cancel()
	f.node.mu.Lock()
	to := f.node.nodes[f.node.place.nodeOf(p.there)]
	f.node.mu.Unlock()
	for {
		var taken bool
		if conn, err = f.node.connect(ctx, to, hello{From: p.here, To: p.there}, &taken); err == nil {
			return conn, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// take returns the port of Gloo that awaits a connection from another node, once.
func (f *forwarder) take(h hello) (port uint16, ok bool) {
	p := pair{h.To, h.From}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.node.place.nodeOf(h.From) != h.Node {
		return 0, false
	}
	port, ok = f.ports[p]
	delete(f.ports, p)
	return port, ok
}

// enter carries a connection from another node to a rank of this one.
func (f *forwarder) enter(remote net.Conn, rank int, port uint16) {
	local, err := net.Dial("tcp", netip.AddrPortFrom(loopback(rank), port).String())
	if err != nil {
		remote.Close()
		return
	}
	carry(local, remote)
}

// close frees what was not needed. Connections go on.
func (f *forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, l := range f.listeners {
		l.Close()
	}
}

// carry copies between two connections, in both directions, until one of them ends.
func carry(a, b net.Conn) {
	one := func(to, from net.Conn) {
		io.Copy(to, from)
		to.Close()
		from.Close()
	}
	go one(a, b)
	one(b, a)
}
