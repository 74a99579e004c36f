package group

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// What a step of ResNet-18 sums: 44.7 MB, in pieces of 16 MiB.
const stepNumbers, piece = 11_173_962, 4 << 20

// BenchmarkSum sums what a step does between two processes: of one node, where Gloo connects them itself, and of two.
//
//	go test -run '^$' -bench Sum -benchtime 30x -count 5 ./trainer/group
func BenchmarkSum(b *testing.B) {
	for _, test := range []struct {
		name string
		nodes
	}{
		{"direct", nodes{count: 1, perNode: 2}},
		{"plain", nodes{count: 2, perNode: 1, plain: true}},
		{"TLS", nodes{count: 2, perNode: 1}},
	} {
		b.Run(test.name, func(b *testing.B) {
			test.benchmark(b, func(g *Group) error { return sums(b, g) })
		})
	}
}

// BenchmarkMean averages as many gradients between two nodes, which travel as float32 or bfloat16, and sums what a
// synchronised normalisation of 512 channels does.
//
//	go test -run '^$' -bench Mean -benchtime 30x -count 5 ./trainer/group
func BenchmarkMean(b *testing.B) {
	for name, f := range map[string]func(b *testing.B, g *Group) error{
		"float32":       func(b *testing.B, g *Group) error { return means(b, g, false) },
		"bfloat16":      func(b *testing.B, g *Group) error { return means(b, g, true) },
		"normalisation": normalisations,
	} {
		b.Run(name, func(b *testing.B) {
			n := nodes{count: 2, perNode: 1}
			n.benchmark(b, func(g *Group) error { return f(b, g) })
		})
	}
}

// benchmark calls f as each process of the nodes.
func (n *nodes) benchmark(b *testing.B, f func(g *Group) error) {
	quiet := telemetry.NewContext(b.Context(), slog.New(slog.DiscardHandler), nil)
	n.Store, n.Owner = newNodes(b, 0, 0).Store, always("a1-FIRST")
	var all []<-chan error
	for number := range n.count {
		all = append(all, n.start(quiet, b, number, func(g *Group) error {
			return errors.Join(f(g), g.Leave(b.Context()))
		}))
	}
	for _, done := range all {
		must(b, <-done)
	}
}

func means(b *testing.B, g *Group, bfloat16 bool) error {
	x, err := libtorch.NewParameter([]int64{stepNumbers}, 1)
	if err != nil {
		return err
	}
	m, err := g.NewMean([]libtorch.Tensor{x}, nil, nil, bfloat16)
	if err != nil {
		return err
	}
	return libtorch.Do(func(s *libtorch.Scope) {
		loss := s.Norm(x)
		s.Backward(loss)
		measure(b, g, s, func() error { return m.Reduce(loss, true, false) })
	})
}

func normalisations(b *testing.B, g *Group) error {
	numbers := make([]float64, 2*512+1)
	return libtorch.Do(func(s *libtorch.Scope) { measure(b, g, s, func() error { return g.SumFloat64(numbers) }) })
}

func sums(b *testing.B, g *Group) error {
	return libtorch.Do(func(s *libtorch.Scope) {
		var tensors []libtorch.Tensor
		for left := int64(stepNumbers); left > 0; left -= piece {
			tensors = append(tensors, s.Zeros([]int64{min(left, piece)}, libtorch.Float32, libtorch.CPU))
		}
		measure(b, g, s, func() error { return g.Sum(tensors...) })
	})
}

// measure does something b.N times, on rank 0 with a clock.
func measure(b *testing.B, g *Group, s *libtorch.Scope, do func() error) {
	if s.Err() == nil {
		s.Fail(do()) // a first time, which is slower
	}
	var took []time.Duration
	if g.Rank() == 0 {
		b.ResetTimer()
	}
	for i := 0; i < b.N && s.Err() == nil; i++ {
		start := time.Now()
		s.Fail(do())
		took = append(took, time.Since(start))
	}
	if g.Rank() > 0 || s.Err() != nil {
		return
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[0].Microseconds())/1000, "min-ms")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(0, "ns/op")
}
