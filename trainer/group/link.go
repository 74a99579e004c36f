package group

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// link is how the processes of a group tell each other who is there, who is well and who has ended. It is a tree: rank
// 0 is connected with the first process of each node, and that one with the others of its node. Each passes on what it
// hears.
type link struct {
	place       *Place
	peers       map[int]*peer
	lostContext context.Context // cancelled when a process was lost; its cause is the error
	lose        context.CancelCauseFunc

	mu      sync.Mutex
	changed *sync.Cond
	values  map[string][]byte
	ended   map[int]bool
	leaving bool // the end of other processes is no loss any more
}

// peer is a process at the other end of a connection.
type peer struct {
	rank int
	conn net.Conn

	mu    sync.Mutex // of writing, and of heard
	heard time.Time
}

// message between two processes, as a line of JSON.
type message struct {
	Kind  kind              `json:"kind"`
	Rank  int               `json:"rank"` // whom it is about
	Key   string            `json:"key,omitempty"`
	Value []byte            `json:"value,omitempty"`
	Code  contract.ExitCode `json:"code,omitempty"`
	Text  string            `json:"text,omitempty"`
}

type kind string

const (
	alive kind = "alive"
	value kind = "value" // Rank sets Key to Value
	ended kind = "ended" // Rank ends with Code, and Text says why
	lost  kind = "lost"  // Rank is gone or frozen, and Text says which
)

var ( // variables for tests
	aliveEvery = time.Second
	// alivePatience is how long a process may say nothing. It says something every second, whatever it computes.
	alivePatience = 20 * time.Second
)

// linkPatience is how long a message takes at most.
const linkPatience = 2 * time.Second

func newLink(p *Place) *link {
	l := &link{place: p, peers: map[int]*peer{}, values: map[string][]byte{}, ended: map[int]bool{}}
	l.changed = sync.NewCond(&l.mu)
	l.lostContext, l.lose = context.WithCancelCause(context.Background())
	context.AfterFunc(l.lostContext, l.wake)
	for rank, conn := range p.links {
		l.peers[rank] = &peer{rank: rank, conn: conn, heard: time.Now().Add(joinTimeout - alivePatience)} // it has to begin
	}
	for _, peer := range l.peers {
		go l.read(peer)
	}
	go l.watch(aliveEvery, alivePatience)
	return l
}

// wake lets all that wait look again. Without the lock one that has just looked would sleep on.
func (l *link) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
}

// Set implements collective.Store.
func (l *link) Set(key string, v []byte) error {
	l.take(message{Kind: value, Rank: l.place.Rank, Key: key, Value: v}, nil)
	return nil
}

// Get implements collective.Store.
func (l *link) Get(key string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if v, ok := l.values[key]; ok {
			return v, nil
		}
		if l.lostContext.Err() != nil {
			return nil, l.lostError()
		}
		l.changed.Wait()
	}
}

// read takes what a process says until it ends.
func (l *link) read(p *peer) {
	for in := json.NewDecoder(p.conn); ; {
		var m message
		if err := in.Decode(&m); err != nil {
			l.take(message{Kind: lost, Rank: p.rank, Text: "ended without a word, as if it was killed"}, p)
			return
		}
		p.hear()
		l.take(m, p)
	}
}

// take takes note of what a peer says, or, without one, this process itself. It passes it on before anybody here knows
// it: a process that knows that all have ended may end.
func (l *link) take(m message, from *peer) {
	if m.Kind == alive {
		return
	}
	l.mu.Lock()
	gone := l.ended[m.Rank] || l.leaving
	l.mu.Unlock()
	if m.Kind == lost && gone {
		return
	}
	if m.Kind == value && l.place.node != nil {
		var err error
		if m.Value, err = l.place.node.forward.value(m.Rank, m.Key, m.Value); err != nil {
			l.fail(err)
			return
		}
	}
	for _, p := range l.peers {
		if p != from {
			p.say(m)
		}
	}
	l.mu.Lock()
	switch m.Kind {
	case value:
		l.values[m.Key] = m.Value
	case ended, lost:
		l.ended[m.Rank] = true
	}
	l.changed.Broadcast()
	l.mu.Unlock()
	name := l.place.name(m.Rank)
	switch {
	case gone || m.Rank == l.place.Rank:
	case m.Kind == lost:
		l.lose(lostPeer(fmt.Sprintf("%s %s", name, m.Text)))
	case m.Kind == ended && m.Code == contract.ExitStopped:
		l.lose(exit.Errorf(contract.ExitStopped, "%s was stopped", name))
	case m.Kind == ended && m.Code != contract.ExitDone:
		l.lose(lostPeer(fmt.Sprintf("%s ended with exit code %d: %s", name, m.Code, m.Text)))
	}
}

// fail ends this process, and tells the others why before it has come to its end.
func (l *link) fail(err error) {
	l.take(message{Kind: ended, Rank: l.place.Rank, Code: exit.Code(err), Text: err.Error()}, nil)
	l.lose(err)
}

// watch says that this process is well, and looks whether the others are.
func (l *link) watch(every, patience time.Duration) {
	last := time.Now()
	for now := range time.Tick(every) {
		if l.lostContext.Err() != nil {
			return
		}
		slept := now.Sub(last) > patience/2 // it was this process that was frozen
		last = now
		for rank, p := range l.peers {
			p.say(message{Kind: alive, Rank: l.place.Rank})
			if slept {
				p.hear()
			}
			if p.silent(now) > patience {
				l.take(message{Kind: lost, Rank: rank, Text: fmt.Sprintf("has not answered for %v", patience)}, p)
			}
		}
	}
}

// say sends a message. If that fails, reading does too, and tells.
func (p *peer) say(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		return // it has no value that could not be marshalled
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.SetWriteDeadline(time.Now().Add(linkPatience))
	p.conn.Write(append(line, '\n'))
}

func (p *peer) hear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now()
}

func (p *peer) silent(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.heard)
}

// leave says that this process is done, and waits until all are.
func (l *link) leave(ctx context.Context) error {
	l.take(message{Kind: ended, Rank: l.place.Rank}, nil)
	defer context.AfterFunc(ctx, l.wake)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ended) < l.place.Size && l.lostContext.Err() == nil && ctx.Err() == nil {
		l.changed.Wait()
	}
	l.leaving = true
	return nil
}

// close says how this process ends. Above rank 0, one that was stopped first waits for rank 0.
func (l *link) close(ctx context.Context, err error) {
	l.mu.Lock()
	left := l.leaving
	l.leaving = true
	defer context.AfterFunc(ctx, l.wake)()
	waits := l.place.Rank > 0 && exit.Code(err) == contract.ExitStopped
	for waits && !l.ended[0] && l.lostContext.Err() == nil && ctx.Err() == nil {
		l.changed.Wait()
	}
	l.mu.Unlock()
	if !left {
		m := message{Kind: ended, Rank: l.place.Rank, Code: exit.Code(err)}
		if err != nil {
			m.Text = err.Error()
		}
		l.take(m, nil)
	}
}

func (l *link) lostError() error { return context.Cause(l.lostContext) }

// lostPeer is the error of a process that has lost another one.
func lostPeer(text string) error {
	return exit.Errorf(contract.ExitPeerLost, "%s: the other processes cannot go on without it; the next attempt goes on "+
		"from the last checkpoint", text)
}
