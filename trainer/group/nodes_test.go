package group

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// nodes are those of a group, as goroutines that meet in a folder.
type nodes struct {
	Rendezvous
	count, perNode int
	ipv6, plain    bool
	address        netip.AddrPort // of the node that is this process; unset where all are
}

func init() { longestPause = 100 * time.Millisecond }

func newNodes(t testing.TB, count, perNode int) *nodes {
	t.Helper()
	st, err := store.Open(t.Context(), "file://"+t.TempDir(), nil)
	must(t, err)
	return &nodes{Rendezvous: Rendezvous{Store: st, Owner: always("a1-FIRST")}, count: count, perNode: perNode}
}

func always(owner string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return owner, nil }
}

// run is one of the nodes: it meets the others and calls f as each process of the node.
func (n *nodes) run(ctx context.Context, t testing.TB, number int, f func(g *Group) error) error {
	place := func(rank int) *Place {
		p := &Place{Rank: rank, Size: n.count * n.perNode, PerNode: n.perNode, Plain: n.plain, links: map[int]net.Conn{},
			Address: n.address}
		switch {
		case n.ipv6:
			p.Address = netip.AddrPortFrom(netip.IPv6Loopback(), 0)
		case !n.address.IsValid():
			p.Address = onLoopback(number)
		}
		return p
	}
	first := place(number * n.perNode)
	places := []*Place{first}
	for rank := first.Rank + 1; rank < first.Rank+n.perNode; rank++ {
		p := place(rank)
		first.links[rank], p.links[first.Rank] = pipe(t)
		places = append(places, p)
	}
	defer first.Close()
	if err := first.Meet(ctx, n.Rendezvous); err != nil {
		return err
	}
	errs := make([]error, n.perNode)
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() {
			g, err := Join(ctx, p)
			if err == nil {
				err = f(g)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// onLoopback is the address of a node.
func onLoopback(number int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + number)}), 0)
}

// start is run in the background.
func (n *nodes) start(ctx context.Context, t testing.TB, number int, f func(g *Group) error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- n.run(ctx, t, number, f) }()
	return done
}

// await waits until a node has left its record.
func (n *nodes) await(t *testing.T, number int) *record {
	t.Helper()
	owner, err := n.Owner(t.Context())
	must(t, err)
	for ; ; time.Sleep(5 * time.Millisecond) {
		rec, err := n.read(t.Context(), owner, number)
		must(t, err)
		if rec != nil {
			return rec
		}
		must(t, t.Context().Err())
	}
}

// meanThenLeave checks a sum of all processes.
func meanThenLeave(g *Group) error {
	return errors.Join(meanOf(g), g.Leave(context.Background()))
}

// TestNodes: processes of several nodes do together what those of one do, and leave no record.
func TestNodes(t *testing.T) {
	for _, test := range []struct {
		count, perNode int
		ipv6, plain    bool
	}{
		{count: 2, perNode: 1},
		{count: 3, perNode: 1, ipv6: true},
		{count: 2, perNode: 2},
		{count: 2, perNode: 1, plain: true},
		{count: 2, perNode: 2, plain: true},
		{count: 3, perNode: 1, plain: true, ipv6: true},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			n := newNodes(t, test.count, test.perNode)
			n.ipv6, n.plain = test.ipv6, test.plain
			var all []<-chan error
			for number := range n.count {
				all = append(all, n.start(t.Context(), t, number, meanThenLeave))
			}
			for _, done := range all {
				must(t, <-done)
			}
			if left, err := n.Store.List(t.Context(), ""); err != nil || len(left) > 0 {
				t.Errorf("%d records are left: %v", len(left), err)
			}
		})
	}
}

// TestStrangers: whoever has no certificate of this attempt changes nothing, before and after all nodes have come.
func TestStrangers(t *testing.T) {
	n := newNodes(t, 3, 1)
	meanAlone := func(g *Group) error {
		if g.place.node == nil {
			return errors.New("no node")
		}
		if conn, err := net.Dial("tcp", g.place.node.own().Address.String()); err == nil {
			conn.Close()
			return errors.New("the port is still open")
		}
		return meanThenLeave(g)
	}
	all := []<-chan error{n.start(t.Context(), t, 0, meanAlone), n.start(t.Context(), t, 1, meanAlone)}
	outsider, err := newIdentity()
	must(t, err)
	anybody := func(string) bool { return true }
	var idle []net.Conn
	for number := range 2 {
		address := n.await(t, number).Address.String()
		for name, attack := range map[string]func(conn net.Conn) error{
			"garbage": func(conn net.Conn) error {
				_, err := conn.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 100)))
				return errors.Join(err, readAnswer(conn))
			},
			"no certificate": func(conn net.Conn) error {
				return readAnswer(tls.Client(conn, &tls.Config{InsecureSkipVerify: true}))
			},
			"another certificate": func(conn net.Conn) error {
				return ask(tls.Client(conn, outsider.config(anybody)), hello{Link: &shape{Nodes: 3, Processes: 1}})
			},
			"a rank's connection": func(conn net.Conn) error {
				return ask(tls.Client(conn, outsider.config(anybody)), hello{From: 2, To: number, Node: 2})
			},
			"an old version of TLS": func(conn net.Conn) error {
				config := outsider.config(anybody)
				config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
				return ask(tls.Client(conn, config), hello{Link: &shape{Nodes: 3, Processes: 1}})
			},
			"plain": func(conn net.Conn) error { return ask(conn, hello{Link: &shape{Nodes: 3, Processes: 1}}) },
		} {
			conn, err := net.Dial("tcp", address)
			must(t, err)
			if attack(conn) == nil {
				t.Errorf("%s: node %d has answered", name, number)
			}
			conn.Close()
		}
		for range mostStrangers + 10 { // more than may be connected
			conn, err := net.Dial("tcp", address)
			must(t, err)
			idle = append(idle, conn)
		}
	}
	all = append(all, n.start(t.Context(), t, 2, meanAlone))
	for number, done := range all {
		if err := <-done; err != nil {
			t.Errorf("node %d: %v", number, err)
		}
	}
	for _, conn := range idle {
		conn.Close()
	}
}

// ask says what a connection is for, and waits for an answer.
func ask(conn net.Conn, h hello) error {
	return errors.Join(writeFrame(conn, h), readAnswer(conn))
}

func readAnswer(conn net.Conn) error {
	_, err := conn.Read(make([]byte, 1))
	return err
}

// TestNodeOfAnOlderAttempt: one that lives on is no node of the new attempt, even if it knows where that listens; nor,
// without TLS, if it has found the port of its own attempt taken by the new one.
func TestNodeOfAnOlderAttempt(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain %v", plain), func(t *testing.T) { testOlderAttempt(t, plain) })
	}
}

func testOlderAttempt(t *testing.T, plain bool) {
	var old, now [2]*node
	for _, attempt := range []*[2]*node{&old, &now} {
		for i := range attempt {
			var err error
			attempt[i], err = listen(&Place{Rank: i, Size: 2, PerNode: 1, Address: onLoopback(0), Plain: plain})
			must(t, err)
			defer attempt[i].close()
		}
		attempt[1].know(0, attempt[0].own())
	}
	go func() {
		for {
			select {
			case l := <-now[1].links:
				writeFrame(l, l.shape)
			case <-now[1].closed:
				return
			}
		}
	}()
	link := hello{Link: &shape{Nodes: 2, Processes: 1}}
	if !plain {
		if _, err := old[0].connect(t.Context(), now[1].own(), link, new(shape)); err == nil {
			t.Error("node 0 of the older attempt is let in")
		}
	}
	expired := &record{Address: now[1].own().Address, Fingerprint: old[1].own().Fingerprint}
	if _, err := now[0].connect(t.Context(), expired, link, new(shape)); err == nil ||
		!plain && !errors.Is(err, errStranger) {
		t.Errorf("another node than the one looked for: %v", err)
	}
	if _, err := now[0].connect(t.Context(), now[1].own(), link, new(shape)); err != nil {
		t.Error(err)
	}
}

// TestNodeThatDoesNotCome: the others say so, and end.
func TestNodeThatDoesNotCome(t *testing.T) {
	defer func(d time.Duration) { meetTimeout = d }(meetTimeout)
	meetTimeout = 3 * time.Second
	n := newNodes(t, 3, 1)
	must(t, n.write(t.Context(), "a1-FIRST", 2, &record{Address: netip.MustParseAddrPort("127.0.0.9:1"), Fingerprint: "of one that has ended"}))
	zero, one := n.start(t.Context(), t, 0, meanThenLeave), n.start(t.Context(), t, 1, meanThenLeave)
	for want, err := range map[string]error{
		"2 of 3 nodes have come, without node 2 (dial tcp 127.0.0.9:1: connect: connection refused) within 3s": <-zero,
		"2 of 3 nodes have come": <-one,
	} {
		if exit.Code(err) != contract.ExitPeerLost || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
	if left, err := n.Store.List(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("%d records are left: %v", len(left), err)
	}
	alone := newNodes(t, 2, 1)
	if err := alone.run(t.Context(), t, 1, meanThenLeave); exit.Code(err) != contract.ExitPeerLost ||
		!strings.Contains(err.Error(), "node 0 has not come within 3s") {
		t.Error(err)
	}
}

// TestUnlikeNodes: both say which option differs.
func TestUnlikeNodes(t *testing.T) {
	for want, other := range map[string]nodes{
		"--nnodes 3":    {count: 3, perNode: 2},
		"--processes 1": {count: 2, perNode: 1},
	} {
		n := newNodes(t, 2, 2)
		other.Rendezvous = n.Rendezvous
		one, two := n.start(t.Context(), t, 0, meanThenLeave), other.start(t.Context(), t, other.count-1, meanThenLeave)
		for _, err := range []error{<-one, <-two} {
			if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
	}
}

// TestUnlikeLibtorch: Gloo of Debian 12 and of Debian 13 would not survive each other.
func TestUnlikeLibtorch(t *testing.T) {
	p := &Place{Rank: 0, Size: 2, PerNode: 1}
	err := p.alike(1, shape{Nodes: 2, Processes: 1, Libtorch: "0.4.1"})
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), "node 1 was started with libtorch 0.4.1, node 0 with libtorch ") {
		t.Error(err)
	}
	must(t, p.alike(1, p.shape()))
}

// TestNodeRankTwice: all that are connected say so.
func TestNodeRankTwice(t *testing.T) {
	n := newNodes(t, 3, 1)
	var log syncBuffer
	ctx := telemetry.NewContext(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), nil)
	all := []<-chan error{n.start(ctx, t, 0, meanThenLeave), n.start(ctx, t, 1, meanThenLeave)}
	for !strings.Contains(log.String(), "2 of 3 nodes have come") {
		time.Sleep(time.Millisecond)
	}
	all = append(all, n.start(t.Context(), t, 1, meanThenLeave))
	for number, done := range all {
		want := contract.ExitPeerLost
		if number == 0 {
			want = contract.ExitConfig
		}
		if err := <-done; exit.Code(err) != want || !strings.Contains(err.Error(), "two processes were started with --node-rank 1") {
			t.Errorf("%v, not exit code %d", err, want)
		}
	}
}

// TestNodeRankTakenOver: a node that another one has taken the place of, before node 0 knew it, does not wait for ever.
func TestNodeRankTakenOver(t *testing.T) {
	n := newNodes(t, 2, 1)
	must(t, n.write(t.Context(), "a1-FIRST", 0, &record{Address: netip.MustParseAddrPort("127.0.0.9:1"), Fingerprint: "busy"}))
	one := n.start(t.Context(), t, 1, meanThenLeave)
	n.await(t, 1)
	another, cancel := context.WithCancel(t.Context())
	two := n.start(another, t, 1, meanThenLeave)
	if err := <-one; exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), "--node-rank 1 as well") {
		t.Error(err)
	}
	cancel()
	if err := <-two; exit.Code(err) != contract.ExitStopped {
		t.Error(err)
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

// TestUnlikeEncryption: a node with TLS and one without do not understand each other, and both say so.
func TestUnlikeEncryption(t *testing.T) {
	n := newNodes(t, 2, 1)
	other := *n
	other.plain = true
	one, two := n.start(t.Context(), t, 0, meanThenLeave), other.start(t.Context(), t, 1, meanThenLeave)
	for number, err := range []error{<-one, <-two} {
		if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), "spec.distributed.encryption") {
			t.Errorf("node %d: %v", number, err)
		}
	}
}

// TestNodesFollowTheOwner: a node that has come to an older rank 0, which may be dead or waiting still, goes on to the
// one that owns the attempt now; one that was started anew takes its own place.
func TestNodesFollowTheOwner(t *testing.T) {
	var mu sync.Mutex
	owner := "a1-DEAD"
	owned := func(by string) func(context.Context) (string, error) { // as checkpoint.Owner, and for rank 0 its method
		return func(context.Context) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			if by != "" && by != owner {
				return "", exit.Errorf(contract.ExitFenced, "%s stops", by)
			}
			return owner, nil
		}
	}
	become := func(o string) {
		mu.Lock()
		defer mu.Unlock()
		owner = o
	}
	n := newNodes(t, 4, 1)
	must(t, n.write(t.Context(), owner, 0, &record{Address: netip.MustParseAddrPort("127.0.0.2:1"), Fingerprint: "nobody's"}))
	n.Owner = owned("")
	one := n.start(t.Context(), t, 1, meanThenLeave)
	n.await(t, 1) // it believes in the dead one

	become("a2-ZOMBIE")
	zombie := *n
	zombie.Owner = owned("a2-ZOMBIE")
	zero := zombie.start(t.Context(), t, 0, meanThenLeave)
	n.await(t, 1)

	become("a3-OWNER")
	newest := *n
	newest.Owner = owned("a3-OWNER")
	all := []<-chan error{newest.start(t.Context(), t, 0, meanThenLeave), one}
	killed, kill := context.WithCancel(t.Context())
	two := n.start(killed, t, 2, meanThenLeave)
	n.await(t, 2)
	kill()
	if err := <-two; exit.Code(err) != contract.ExitStopped {
		t.Error(err)
	}
	all = append(all, n.start(t.Context(), t, 2, meanThenLeave), n.start(t.Context(), t, 3, meanThenLeave))
	if err := <-zero; exit.Code(err) != contract.ExitFenced {
		t.Errorf("rank 0 of an older attempt: %v", err)
	}
	for number, done := range all {
		if err := <-done; err != nil {
			t.Errorf("node %d: %v", number, err)
		}
	}
}

// TestStorageIsAway: the field of the spec is named.
func TestStorageIsAway(t *testing.T) {
	n := newNodes(t, 2, 1)
	n.Store, _ = store.Open(t.Context(), "file:///proc/none", &v1.S3Spec{})
	if err := n.run(t.Context(), t, 0, meanThenLeave); err == nil || !strings.Contains(err.Error(), "spec.storage.uri") {
		t.Error(err)
	}
}
