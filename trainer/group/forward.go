package group

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group/internal/collective"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
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
//
// Errors: exit code 64 if this program's Gloo says it in a form that is not known.
func (f *forwarder) value(rank int, key string, value []byte) ([]byte, error) {
	p := f.node.place
	if p.Plain || !collective.HoldsAddresses(key, rank) {
		return value, nil
	}
	a, err := collective.ParseAddresses(value, rank, p.Size)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%w: with this libtorch (%s) several nodes need spec.distributed.encryption: "+
			"false, or take the project's image for CPUs", err, libtorch.Version())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.nodeOf(rank) == p.Node() {
		for other := range p.Size {
			if p.nodeOf(other) != p.Node() {
				f.ports[pair{rank, other}] = a.Port(other)
			}
		}
		return value, nil
	}
	if err := f.stand(rank, a); err != nil {
		return nil, err
	}
	return a.Value(), nil
}

// stand listens in place of a rank of another node: for all ranks of this one, or on a port for each. It changes the
// rank's addresses to that.
func (f *forwarder) stand(rank int, a *collective.Addresses) error {
	p := f.node.place
	for here := p.firstOf(p.Node()); here < p.firstOf(p.Node()+1) && !f.closed; here++ {
		l, err := net.Listen("tcp", netip.AddrPortFrom(loopback(rank), 0).String())
		if err != nil {
			return err
		}
		f.listeners = append(f.listeners, l)
		a.SetPort(here, uint16(l.Addr().(*net.TCPAddr).Port))
		if a.Shared() {
			go f.leave(l, func(local net.Conn) { f.leaveByNumber(local, rank, a) })
			return nil
		}
		go f.leave(l, func(local net.Conn) { f.carry(local, pair{here, rank}, nil) })
	}
	return nil
}

// leave takes the connections that ranks of this node make to one of another, until the port is closed.
func (f *forwarder) leave(l net.Listener, to func(local net.Conn)) {
	for {
		local, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // there are too many files
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go to(local)
	}
}

// leaveByNumber finds out which rank of this node connects to one of another, and carries its connection there.
func (f *forwarder) leaveByNumber(local net.Conn, rank int, a *collective.Addresses) {
	var number collective.Number
	local.SetReadDeadline(time.Now().Add(helloPatience))
	if _, err := io.ReadFull(local, number[:]); err != nil {
		local.Close()
		return
	}
	here, ok := a.Caller(number)
	if !ok || f.node.place.nodeOf(here) != f.node.place.Node() {
		local.Close()
		return
	}
	local.SetReadDeadline(time.Time{})
	f.carry(local, pair{here, rank}, number[:])
}

// carry takes the connection of a rank of this node, and what was read of it, to one of another node.
func (f *forwarder) carry(local net.Conn, p pair, read []byte) {
	remote, err := f.reach(p)
	if err == nil && len(read) > 0 {
		_, err = remote.Write(read)
	}
	if err != nil {
		local.Close()
		if remote != nil {
			remote.Close()
		}
		return
	}
	join(local, remote)
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
	join(local, remote)
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

// join copies between two connections, in both directions, until one of them ends.
func join(a, b net.Conn) {
	one := func(to, from net.Conn) {
		io.Copy(to, from)
		to.Close()
		from.Close()
	}
	go one(a, b)
	one(b, a)
}
