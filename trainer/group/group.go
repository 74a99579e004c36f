// Package group is the processes of one attempt that train one network together: data-parallel, as PyTorch's
// DistributedDataParallel does it. The sums are c10d's (ProcessGroupGloo); who is there, who is well and who has ended
// the processes tell each other on connections of their own (link.go).
package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/resnet-operator/resnet-operator/trainer/group/internal/collective"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Group is the place of this process among those of an attempt. A nil Group is a process on its own: its methods do
// nothing, or return what there is.
//
// All processes call the methods Sum, SumFloat64, Meet, Share, Same, NewMean and those of a Mean in the same order.
// Errors of these methods have exit code 76 if a process was lost, and name it.
type Group struct {
	place *Place
	link  *link
	sums  *collective.Group

	outer  context.Context // of this process
	cancel func()          // cancels that of all
	keep   func() bool     // the connections of gloo, also when a process is lost
	failed error           // of SumFloat64
}

// collectiveTimeout is how long a sum waits for a process that is well: one may compute longer than others, and one may
// wait for its storage. One that is not well is noticed by its link.
const collectiveTimeout = 24 * time.Hour

// joinTimeout is how long the processes take at most to begin and to connect: some wait for their node to meet others.
const joinTimeout = 15 * time.Minute

// Join connects the processes of a group.
//
// Errors: exit code 76 if one was lost, 75 if ctx was cancelled.
func Join(ctx context.Context, p *Place) (*Group, error) {
	g := &Group{place: p, link: newLink(p), outer: ctx, cancel: func() {}}
	type result struct {
		sums *collective.Group
		err  error
	}
	done := make(chan result, 1)
	go func() { // it cannot be interrupted
		made, err := collective.New(g.link, p.Rank, p.Size, p.glooHost(), collectiveTimeout)
		done <- result{made, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return g, g.lost(r.err)
		}
		g.sums = r.sums
		g.keep = context.AfterFunc(g.link.lostContext, g.sums.GiveUp)
		return g, g.shut()
	case <-g.link.lostContext.Done():
		return g, g.link.lostError()
	case <-time.After(joinTimeout):
		return g, lostPeer(fmt.Sprintf("rank %d of %d could not be connected to within %v", p.Rank, p.Size, joinTimeout))
	case <-ctx.Done():
		return g, ctx.Err()
	}
}

// shut closes the port of this node, once all processes are connected, so that nobody else can come.
func (g *Group) shut() error {
	if g.place.Nodes() == 1 {
		return nil
	}
	err := g.Meet()
	if g.place.node != nil {
		g.place.node.close()
	}
	return err
}

// Rank of this process, from 0. That of rank 0 alone records, saves and exports.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.place.Rank
}

// Size is the number of processes.
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.place.Size
}

// Context returns a context that is also cancelled when a process is lost: Explain says then what that is.
func (g *Group) Context(ctx context.Context) context.Context {
	if g == nil {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(g.link.lostContext, cancel)
	return ctx
}

// Explain returns the loss of a process for an error that only says that a context was cancelled, or that an operation
// with a SumFloat64 in it failed.
func (g *Group) Explain(err error) error {
	switch {
	case g == nil || err == nil:
		return err
	case g.failed != nil:
		return g.failed
	case (errors.Is(err, context.Canceled) || OnGPUs) && g.link.lostContext.Err() != nil:
		return g.link.lostError() // a GPU's errors behind it say anything
	}
	return err
}

// Agree returns a context that takes the place of ctx while there are sums: it is cancelled in all processes behind the
// same one, once ctx is cancelled in one of them.
func (g *Group) Agree(ctx context.Context) context.Context {
	if g == nil {
		return ctx
	}
	agreed, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g.outer, g.cancel = ctx, cancel
	return agreed
}

// Sum replaces contiguous tensors by their sums over all processes: the same bits in all of them, and in every run.
func (g *Group) Sum(tensors ...libtorch.Tensor) error {
	if g == nil {
		return nil
	}
	var stop bool
	err := libtorch.Do(func(s *libtorch.Scope) {
		flag := s.Full([]int64{1}, float64(count(g.stops())), libtorch.Int64, libtorch.CPU)
		if s.Err() != nil {
			return
		}
		if err := g.sums.Sum(handles(slices.Concat(tensors, []libtorch.Tensor{flag}))); err != nil {
			s.Fail(g.lost(err))
			return
		}
		stops, err := libtorch.Values[int64](flag)
		stop = err == nil && stops[0] > 0
		s.Fail(err)
	})
	if stop {
		g.cancel()
	}
	return err
}

// SumFloat64 replaces numbers by their sums over all processes: the same bits in all of them, and in every run. It is
// for operations of libtorch, which keep only the text of its error: see Explain.
func (g *Group) SumFloat64(numbers []float64) error {
	if err := g.sums.SumFloat64(numbers); err != nil {
		g.failed = g.lost(err)
	}
	return g.failed
}

// Meet waits for all processes, for the context of Agree.
func (g *Group) Meet() error { return g.Sum() }

// Mean averages over all processes what each of them has computed in a step.
type Mean struct {
	group *Group
	mean  *collective.Mean
	// statistics is their number, buffers that of statistics and ranges.
	statistics, buffers int
}

// NewMean returns a Mean of the gradients of parameters, of running statistics, and of ranges that are observed, which
// travel in one buffer. They must be float32 on the device of the training. With bfloat16 gradients travel rounded to that, as with PyTorch's bf16_compress_hook.
func (g *Group) NewMean(params, statistics, ranges []libtorch.Tensor, bfloat16 bool) (*Mean, error) {
	if g == nil {
		return nil, nil
	}
	buffers := slices.Concat(statistics, ranges)
	m, err := collective.NewMean(handles(params), handles(buffers), bfloat16)
	return &Mean{g, m, len(statistics), len(buffers)}, err
}

// Reduce replaces the gradients, the loss and, where they moved, the running statistics and the ranges by their means
// over all processes. On GPUs it waits for nothing, and the context of Agree has to be asked for by Meet.
func (m *Mean) Reduce(loss libtorch.Tensor, statistics, ranges bool) error {
	if m == nil {
		return nil
	}
	first, last := m.statistics, m.statistics
	if statistics {
		first = 0
	}
	if ranges {
		last = m.buffers
	}
	stop, err := m.mean.Do(m.group.sums, handles([]libtorch.Tensor{loss})[0], first, last, m.group.stops())
	if err != nil {
		return m.group.lost(err)
	}
	if stop {
		m.group.cancel()
	}
	return nil
}

// Leave says that there are no more sums: the other processes may end. From now on the context of Agree is that of this
// process.
func (g *Group) Leave(ctx context.Context) error {
	if g == nil {
		return nil
	}
	err := g.link.leave(ctx)
	context.AfterFunc(g.outer, g.cancel)
	if g.keep() {
		g.sums.Close()
	}
	return err
}

// Close tells the other processes how this one ends. Above rank 0, a process that was told to stop waits until rank 0
// has saved.
func (g *Group) Close(ctx context.Context, err error) {
	if g != nil {
		g.link.close(ctx, err)
		if g.place.node != nil {
			g.place.node.close()
		}
	}
}

// stops reports whether this process was told to stop.
func (g *Group) stops() bool { return g.outer.Err() != nil }

// lost is the end of a group whose sum failed: most likely a process was lost, and its link tells which one.
func (g *Group) lost(err error) error {
	select {
	case <-g.link.lostContext.Done():
		return g.link.lostError()
	case <-time.After(linkPatience):
		return lostPeer(fmt.Sprintf("the exchange with the other processes failed: %v", err))
	}
}

func handles(tensors []libtorch.Tensor) []unsafe.Pointer {
	all := make([]unsafe.Pointer, len(tensors))
	for i, t := range tensors {
		all[i] = *t.T
	}
	return all
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
