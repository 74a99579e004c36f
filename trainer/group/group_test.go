package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// places of a group on one node, whose processes are goroutines.
func places(t *testing.T, n int) []*Place {
	t.Helper()
	all := make([]*Place, n)
	for rank := range all {
		all[rank] = &Place{Rank: rank, Size: n, PerNode: n, links: map[int]net.Conn{}}
		if rank > 0 {
			all[0].links[rank], all[rank].links[0] = pipe(t)
		}
	}
	return all
}

func pipe(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	must(t, err)
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	b, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// together calls f as each process of a group, and returns the errors.
func together(t *testing.T, n int, f func(g *Group) error) []error {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for _, p := range places(t, n) {
		wg.Go(func() {
			g, err := Join(t.Context(), p)
			if err == nil {
				err = f(g)
			}
			errs[p.Rank] = err
		})
	}
	wg.Wait()
	return errs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tensor of some float32, that outlives a scope.
func tensor(values ...float32) (x libtorch.Tensor, err error) {
	if x, err = libtorch.NewParameter([]int64{int64(len(values))}, 0); err != nil {
		return x, err
	}
	var b []byte
	for _, v := range values {
		bits := math.Float32bits(v)
		b = append(b, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
	}
	return x, libtorch.SetBytes(x, b)
}

// step computes the gradient x/|x| of a loss |x|, and reduces it.
func step(g *Group, m *Mean, x libtorch.Tensor, frozen bool) (loss, grad []float32, err error) {
	err = libtorch.Do(func(s *libtorch.Scope) {
		l := s.Norm(x)
		s.Backward(l)
		if s.Err() == nil {
			s.Fail(m.Reduce(l, !frozen, false))
		}
		gradient := s.Grad(x)
		if s.Err() != nil {
			return
		}
		var err error
		if loss, err = libtorch.Values[float32](l); err == nil {
			grad, err = libtorch.Values[float32](gradient)
		}
		s.Fail(err)
	})
	return loss, grad, err
}

// TestGroup makes everything that the processes of a group do together.
func TestGroup(t *testing.T) {
	for _, n := range []int{2, 3} {
		errs := together(t, n, func(g *Group) error {
			fact := func(value string) func() ([]Fact, error) {
				return func() ([]Fact, error) { return []Fact{{"the weather", "fine"}, {"the number", value}}, nil }
			}
			if err := g.Same(contract.ExitConfig, fact("1")); err != nil {
				return err
			}
			err := g.Same(contract.ExitConfig, fact(fmt.Sprint(g.Rank())))
			if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), "differs from rank 0 in the number: 1, there 0") {
				return fmt.Errorf("other facts: %w", err)
			}
			word := strings.Repeat("x", g.Rank())
			if g.Rank() == 0 {
				word = "rank 0 said so"
			}
			if err := Share(g, &word); err != nil || word != "rank 0 said so" {
				return fmt.Errorf("shared %q: %w", word, err)
			}
			return errors.Join(meanOf(g), bfloat16MeanOf(g))
		})
		must(t, errors.Join(errs...))
	}
}

// meanOf checks the means of a step: in rank r the gradient is (0.6, 0.8), the loss 5(r+1).
func meanOf(g *Group) error {
	r, mean := float32(g.Rank()+1), float32(g.Size()+1)/2
	for _, frozen := range []bool{true, false} {
		x, err1 := tensor(3*r, 4*r)
		statistics, err2 := tensor(r, 10*r)
		m, err3 := g.NewMean([]libtorch.Tensor{x}, []libtorch.Tensor{statistics}, nil, false)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		loss, grad, err := step(g, m, x, frozen)
		if err != nil {
			return err
		}
		moved, err := libtorch.Values[float32](statistics)
		want := mean
		if frozen {
			want = r
		}
		if err != nil || !near(loss[0], 5*mean) || !near(grad[0], 0.6) || !near(grad[1], 0.8) || !near(moved[0], want) ||
			!near(moved[1], 10*want) {
			return fmt.Errorf("frozen %t: loss %v, gradient %v, statistics %v: %w", frozen, loss, grad, moved, err)
		}
	}
	return rangesOf(g)
}

// rangesOf checks that statistics and ranges become means independently.
func rangesOf(g *Group) error {
	r, mean := float32(g.Rank()+1), float32(g.Size()+1)/2
	for i := range 4 {
		x, err1 := tensor(3, 4)
		statistics, err2 := tensor(r)
		ranges, err3 := tensor(r)
		m, err4 := g.NewMean([]libtorch.Tensor{x}, []libtorch.Tensor{statistics}, []libtorch.Tensor{ranges}, false)
		err5 := libtorch.Do(func(s *libtorch.Scope) {
			if l := s.Norm(x); s.Err() == nil {
				s.Fail(m.Reduce(l, i&1 != 0, i&2 != 0))
			}
		})
		a, err6 := libtorch.Values[float32](statistics)
		b, err7 := libtorch.Values[float32](ranges)
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
			return err
		}
		want := []float32{r, mean}
		if !near(a[0], want[i&1]) || !near(b[0], want[i>>1]) {
			return fmt.Errorf("statistics %v, ranges %v of rank %d in case %d", a, b, g.Rank(), i)
		}
	}
	return nil
}

// bfloat16MeanOf checks means of gradients that travel as bfloat16, bit for bit, for as many as the ranks can divide
// and others. Statistics do not travel so.
func bfloat16MeanOf(g *Group) error {
	for _, n := range []int{1, 96, 1000} {
		values := make([]float32, n)
		rng := rand.New(rand.NewPCG(uint64(n), uint64(g.Rank())))
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		x, err1 := tensor(values...)
		statistics, err2 := tensor(1.001 * float32(g.Rank()+1))
		m, err3 := g.NewMean([]libtorch.Tensor{x}, []libtorch.Tensor{statistics}, nil, true)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		var own, got []float32
		err := libtorch.Do(func(s *libtorch.Scope) {
			l := s.Norm(x)
			s.Backward(l)
			read := func() []float32 {
				gradient := s.Grad(x)
				if s.Err() != nil {
					return nil
				}
				values, err := libtorch.Values[float32](gradient)
				s.Fail(err)
				return values
			}
			if own = read(); s.Err() == nil {
				s.Fail(m.Reduce(l, true, false))
			}
			got = read()
		})
		if err != nil {
			return err
		}
		encoded, _ := binary.Append(nil, binary.NativeEndian, own)
		all, err := g.gather(encoded)
		if err != nil {
			return err
		}
		want := make([]float32, n)
		for _, encoded := range all {
			if _, err := binary.Decode(encoded, binary.NativeEndian, own); err != nil {
				return err
			}
			for i, v := range own {
				want[i] += toBFloat16(v * (1 / float32(g.Size())))
			}
		}
		for i := range want {
			if want[i] = toBFloat16(want[i]); got[i] != want[i] {
				return fmt.Errorf("rank %d: the mean of gradient %d of %d is %v, not %v", g.Rank(), i, n, got[i], want[i])
			}
		}
		if moved, err := libtorch.Values[float32](statistics); err != nil || !near(moved[0], 1.001*float32(g.Size()+1)/2) {
			return fmt.Errorf("statistics %v: %w", moved, err)
		}
	}
	return nil
}

// toBFloat16 rounds to the nearest, ties to even.
func toBFloat16(v float32) float32 {
	bits := math.Float32bits(v)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
}

func near(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-5 }

// TestSumFloat64: all have the same sums, and a lost process is told by Explain, too.
func TestSumFloat64(t *testing.T) {
	var summed sync.WaitGroup
	summed.Add(3)
	errs := together(t, 3, func(g *Group) error {
		numbers := []float64{float64(g.Rank()), 1e-17, 0.5}
		if err := g.SumFloat64(numbers); err != nil {
			return err
		}
		if numbers[0] != 3 || numbers[1] != 3e-17 || numbers[2] != 1.5 {
			return fmt.Errorf("rank %d has %v", g.Rank(), numbers)
		}
		summed.Done()
		summed.Wait()
		text := errors.New("libtorch: backward: a sum failed")
		if err := g.Explain(text); err != text || g.Explain(nil) != nil {
			return fmt.Errorf("explained: %w", err)
		}
		if g.Rank() == 1 {
			g.link.peers[0].conn.Close()
			return nil
		}
		err := g.SumFloat64(numbers)
		for _, err := range []error{err, g.Explain(text), g.Explain(err)} {
			if exit.Code(err) != contract.ExitPeerLost || !strings.Contains(err.Error(), "rank 1 of 3 ended without a word") {
				return fmt.Errorf("rank %d: %w", g.Rank(), err)
			}
		}
		return nil
	})
	must(t, errors.Join(errs...))
}

// TestLostInMean: also where gradients travel as bfloat16 nobody waits for a lost process.
func TestLostInMean(t *testing.T) {
	errs := together(t, 3, func(g *Group) error {
		x, err1 := tensor(3, 4)
		m, err2 := g.NewMean([]libtorch.Tensor{x}, nil, nil, true)
		if err := errors.Join(err1, err2); err != nil || g.Rank() == 1 {
			g.link.peers[0].conn.Close()
			return err
		}
		_, _, err := step(g, m, x, false)
		return err
	})
	for _, rank := range []int{0, 2} {
		err := errs[rank]
		if exit.Code(err) != contract.ExitPeerLost || !strings.Contains(err.Error(), "rank 1 of 3 ended without a word") {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// TestAllStopAfterTheSameSum: a process that is told to stop ends the contexts of all, behind the same sum.
func TestAllStopAfterTheSameSum(t *testing.T) {
	errs := together(t, 3, func(g *Group) error {
		own, stop := context.WithCancel(t.Context())
		defer stop()
		ctx := g.Agree(own)
		for i := range 10 {
			if ctx.Err() != nil {
				if i != 4 {
					return fmt.Errorf("stopped after %d sums", i)
				}
				return g.Leave(t.Context())
			}
			if g.Rank() == 2 && i == 3 {
				stop()
			}
			if err := g.Meet(); err != nil {
				return err
			}
		}
		return errors.New("did not stop")
	})
	must(t, errors.Join(errs...))
}

// TestLostProcess: who waits for a process that has ended is told which one and why, and need not wait for its sum.
func TestLostProcess(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(g *Group)
		code contract.ExitCode
		want string
	}{
		"without a word": {func(g *Group) { g.link.peers[0].conn.Close() },
			contract.ExitPeerLost, "rank 1 of 3 ended without a word"},
		"with an error": {func(g *Group) { g.Close(t.Context(), exit.Errorf(contract.ExitData, "bad image")) },
			contract.ExitPeerLost, "rank 1 of 3 ended with exit code 65: bad image"},
		"stopped": {func(g *Group) { g.link.take(message{Kind: ended, Rank: 1, Code: contract.ExitStopped}, nil) },
			contract.ExitStopped, "rank 1 of 3 was stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			errs := together(t, 3, func(g *Group) error {
				if g.Rank() == 1 {
					test.end(g)
					return nil
				}
				return g.Meet()
			})
			for _, rank := range []int{0, 2} {
				if exit.Code(errs[rank]) != test.code || !strings.Contains(errs[rank].Error(), test.want) {
					t.Errorf("rank %d: %v", rank, errs[rank])
				}
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
}

// TestFrozenProcess: one that says nothing is lost, while the others are well.
func TestFrozenProcess(t *testing.T) {
	defer func(every, patience time.Duration) { aliveEvery, alivePatience = every, patience }(aliveEvery, alivePatience)
	aliveEvery, alivePatience = 10*time.Millisecond, 300*time.Millisecond
	p := places(t, 3)
	fmt.Fprintln(p[1].links[0], `{"kind": "alive", "rank": 1}`) // and nothing more
	first, second := newLink(p[0]), newLink(p[2])
	for rank, l := range map[int]*link{0: first, 2: second} {
		select {
		case <-l.lostContext.Done():
		case <-t.Context().Done():
		}
		err := l.lostError()
		if exit.Code(err) != contract.ExitPeerLost || !strings.Contains(err.Error(), "rank 1 of 3 has not answered") {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// TestStoppedProcessesWaitForRank0, which saves.
func TestStoppedProcessesWaitForRank0(t *testing.T) {
	p := places(t, 2)
	first, second := newLink(p[0]), newLink(p[1])
	stopped := exit.Errorf(contract.ExitStopped, "stopped after step 3")
	closed := make(chan struct{})
	go func() { second.close(t.Context(), stopped); close(closed) }()
	select {
	case <-closed:
		t.Error("did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	first.close(t.Context(), stopped)
	<-closed
}

// TestNoGroup: a process on its own needs no group.
func TestNoGroup(t *testing.T) {
	var g *Group
	m, err := g.NewMean(nil, nil, nil, false)
	must(t, err)
	must(t, m.Reduce(libtorch.Tensor{}, true, false))
	must(t, g.Meet())
	word := "mine"
	must(t, Share(g, &word))
	must(t, g.Same(contract.ExitConfig, nil))
	must(t, g.Leave(t.Context()))
	g.Close(t.Context(), nil)
	if g.Rank() != 0 || g.Size() != 1 || word != "mine" || g.Agree(t.Context()) != t.Context() {
		t.Error("a group of none is not a process on its own")
	}
}
