package group

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/network"
)

// node is a machine or pod among several, for the others: a port to which they connect, while the group forms. Once it
// has, nobody needs it any more, and it is closed.
type node struct {
	place    *Place
	identity *identity
	listener net.Listener
	forward  *forwarder
	links    chan hostLink
	closed   chan struct{}
	once     sync.Once // to close it

	mu        sync.Mutex
	nodes     map[int]*record // as far as they are known
	strangers []net.Conn      // have not yet said who they are; the oldest first
}

const (
	// mostStrangers may be connected at a time. One more, and the oldest goes: who belongs here is one of them for
	// milliseconds.
	mostStrangers = 256
	// helloPatience is how long a connection may take to say whose it is.
	helloPatience = 10 * time.Second
	// connectPatience is how long a node tries to reach another one that is there.
	connectPatience = 30 * time.Second
	// mostFrame is the size of a frame, in bytes: enough for the records of 64 nodes.
	mostFrame = 64 << 10
)

// hello says from which node a connection comes, and what for: to link it with node 0, or from one rank's Gloo to
// another's.
type hello struct {
	Node     int
	Called   string // the fingerprint of the node that shall answer: where there is no TLS, it may be another one by now
	Link     *shape
	From, To int
}

// listen opens the port of a node. Errors: exit code 64 if there is no such address.
func listen(p *Place) (*node, error) {
	n := &node{place: p, links: make(chan hostLink), closed: make(chan struct{}), nodes: map[int]*record{}}
	n.forward = &forwarder{node: n, ports: map[pair]uint16{}}
	var err error
	if n.identity, err = newIdentity(); err != nil {
		return nil, err
	}
	if n.listener, err = net.Listen("tcp", p.Address.String()); err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "--node-address: %w: it must be an address of this machine, which the "+
			"other nodes reach", err)
	}
	go n.serve()
	return n, nil
}

// own is what the other nodes are told of this one.
func (n *node) own() *record {
	return &record{Address: n.listener.Addr().(*net.TCPAddr).AddrPort(), Fingerprint: n.identity.fingerprint,
		Plain: n.place.Plain}
}

// know lets a node connect to this one.
func (n *node) know(number int, r *record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[number] = r
}

// knows returns which node has a certificate.
func (n *node) knows(fingerprint string) (number int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for number, r := range n.nodes {
		if r.Fingerprint == fingerprint {
			return number, true
		}
	}
	return 0, false
}

// close closes the port, and what leads to it. Connections of Gloo go on.
func (n *node) close() {
	n.once.Do(func() {
		close(n.closed)
		n.listener.Close()
		n.forward.close()
	})
}

// serve takes connections until the port is closed.
func (n *node) serve() {
	for {
		conn, err := n.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // of one connection, or there are too many files
			time.Sleep(100 * time.Millisecond)
			continue
		}
		n.mu.Lock()
		if len(n.strangers) == mostStrangers {
			n.strangers[0].Close()
			n.strangers = n.strangers[1:]
		}
		n.strangers = append(n.strangers, conn)
		n.mu.Unlock()
		go n.greet(conn)
	}
}

// greet finds out whose a connection is, and drops it if it is nobody's. Nothing is said of that: a stranger could fill
// the log.
func (n *node) greet(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(helloPatience))
	secure, h, err := n.identify(conn)
	n.mu.Lock()
	n.strangers = slices.DeleteFunc(n.strangers, func(c net.Conn) bool { return c == conn })
	n.mu.Unlock()
	if err != nil {
		conn.Close()
		return
	}
	if h.Link != nil && h.Node == 0 {
		select {
		case n.links <- hostLink{secure, *h.Link}:
			return
		case <-time.After(helloPatience):
		case <-n.closed:
		}
	} else if port, ok := n.forward.take(h); ok && writeFrame(secure, true) == nil {
		conn.SetDeadline(time.Time{})
		n.forward.enter(secure, h.To, port)
		return
	}
	conn.Close()
}

// identify makes a connection secure, and reads what it is for.
func (n *node) identify(conn net.Conn) (secure net.Conn, h hello, err error) {
	secure = conn
	if !n.place.Plain {
		t := tls.Server(conn, n.identity.config(func(f string) bool { _, ok := n.knows(f); return ok }))
		if err := t.Handshake(); err != nil {
			return nil, h, err
		}
		secure = t
	}
	if err := readFrame(secure, &h); err != nil {
		return nil, h, err
	}
	if t, ok := secure.(*tls.Conn); ok {
		if number, ok := n.knows(peerFingerprint(t.ConnectionState())); !ok || number != h.Node {
			return nil, h, errStranger
		}
	}
	if h.Called != n.identity.fingerprint {
		return nil, h, errStranger
	}
	return secure, h, nil
}

// connect connects to another node, says what for, and reads the answer.
func (n *node) connect(ctx context.Context, r *record, h hello, answer any) (net.Conn, error) {
	conn, err := network.DialContext(helloPatience)(ctx, "tcp", r.Address.String())
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	conn.SetDeadline(time.Now().Add(helloPatience))
	secure := conn
	if !n.place.Plain {
		secure = tls.Client(conn, n.identity.config(func(f string) bool { return f == r.Fingerprint }))
	}
	h.Node, h.Called = n.place.Node(), r.Fingerprint
	if err = writeFrame(secure, h); err == nil {
		err = readFrame(secure, answer)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return secure, conn.SetDeadline(time.Time{})
}

// writeFrame sends a value as JSON, with its size before it.
func writeFrame(w io.Writer, v any) error {
	encoded, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(encoded))), encoded...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > mostFrame {
		return fmt.Errorf("a frame of %d bytes", n)
	}
	encoded := make([]byte, n)
	if _, err := io.ReadFull(r, encoded); err != nil {
		return err
	}
	return json.Unmarshal(encoded, v)
}
