package group

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group/internal/collective"
)

// TestForwarder carries connections as Gloo makes them: to a port for each rank, as that of Debian 12, and to one port for all, as that
// of Debian 13, whichever this program has. There are two nodes of two ranks; those of node 1 connect.
func TestForwarder(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) { testForwarder(t, shared) })
	}
}

func testForwarder(t *testing.T, shared bool) {
	var nodes [2]*node
	for i := range nodes {
		var err error
		nodes[i], err = listen(&Place{Rank: 2 * i, Size: 4, PerNode: 2, Address: onLoopback(i)})
		must(t, err)
		defer nodes[i].close()
	}
	nodes[0].know(1, nodes[1].own())
	nodes[1].know(0, nodes[0].own())
	for rank := range 2 {
		g := listenAsGloo(t, rank, shared)
		_, err := nodes[0].forward.value(rank, fmt.Sprint("0/", rank), g.value)
		must(t, err)
		there, err := nodes[1].forward.value(rank, fmt.Sprint("0/", rank), g.value)
		must(t, err)
		a, err := collective.ParseAddresses(there, rank, 4)
		must(t, err)
		for _, from := range []int{3, 2} {
			conn, err := net.Dial("tcp", netip.AddrPortFrom(loopback(rank), a.Port(from)).String())
			must(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			if shared {
				conn.Write(g.number(from))
			}
			fmt.Fprintf(conn, "from %d", from)
			if got, want := g.hear(t, from), fmt.Sprintf("from %d", from); got != want {
				t.Errorf("rank %d heard %q, not %q", rank, got, want)
			}
		}
		if !shared {
			continue
		}
		for _, number := range []int{0, 99} { // of a rank that is not here, and of nobody
			conn, err := net.Dial("tcp", netip.AddrPortFrom(loopback(rank), a.Port(2)).String())
			must(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			conn.Write(g.number(number))
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF {
				t.Errorf("number of rank %d: %v", number, err)
			}
		}
	}
}

// glooListener listens as Gloo of a rank does.
type glooListener struct {
	listeners []net.Listener // for ranks 0 to 3, or one for all
	value     []byte
	rank      int
}

func listenAsGloo(t *testing.T, rank int, shared bool) *glooListener {
	t.Helper()
	g := &glooListener{rank: rank}
	listen := func() []byte {
		l, err := net.Listen("tcp", netip.AddrPortFrom(loopback(rank), 0).String())
		must(t, err)
		t.Cleanup(func() { l.Close() })
		g.listeners = append(g.listeners, l)
		address := make([]byte, 136)
		binary.NativeEndian.PutUint16(address, 2)
		binary.BigEndian.PutUint16(address[2:], uint16(l.Addr().(*net.TCPAddr).Port))
		copy(address[4:], loopback(rank).AsSlice())
		return address
	}
	if shared {
		g.value = slices.Concat(eight(4), []byte("host"), eight(136), listen(), g.number(0), g.number(1), g.number(2), g.number(3))
		return g
	}
	for other := range 4 {
		if address := listen(); other != rank {
			g.value = append(g.value, address...)
		}
	}
	return g
}

// number by which another rank is known on a port for all.
func (g *glooListener) number(other int) []byte { return eight(uint64(1000*g.rank + other)) }

func eight(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// hear takes a connection from another rank, and what it says.
func (g *glooListener) hear(t *testing.T, other int) string {
	t.Helper()
	shared := len(g.listeners) == 1
	l := g.listeners[0]
	if !shared {
		l = g.listeners[other]
	}
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	said := make([]byte, 6)
	if shared {
		said = append(said, make([]byte, 8)...)
	}
	_, err = io.ReadFull(conn, said)
	must(t, err)
	if shared {
		if !slices.Equal(said[:8], g.number(other)) {
			t.Errorf("rank %d said number %v", other, said[:8])
		}
		said = said[8:]
	}
	return string(said)
}

// TestUnknownGloo: where Gloo says in an unknown form where it listens, all processes of both nodes end at once, and say what to do.
func TestUnknownGloo(t *testing.T) {
	n := newNodes(t, 2, 2)
	one := n.start(t.Context(), t, 1, meanThenLeave)
	p := &Place{Size: 4, PerNode: 2, Address: onLoopback(0), links: map[int]net.Conn{}}
	defer p.Close()
	second := &Place{Rank: 1, Size: 4, PerNode: 2, Address: onLoopback(0), links: map[int]net.Conn{}}
	p.links[1], second.links[0] = pipe(t)
	must(t, p.Meet(t.Context(), n.Rendezvous))
	two := make(chan error, 1)
	go func() {
		_, err := Join(t.Context(), second)
		two <- err
	}()
	l := newLink(p)
	must(t, l.Set("0/0", []byte("something else")))
	_, err := l.Get("0/2")
	for name, err := range map[string]error{"rank 0": err, "rank 1": <-two, "node 1": <-one} {
		want := contract.ExitPeerLost
		if name == "rank 0" {
			want = contract.ExitConfig
		}
		if exit.Code(err) != want || !strings.Contains(err.Error(), "14 bytes for 4 ranks") ||
			!strings.Contains(err.Error(), "spec.distributed.encryption: false") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
