//go:build cuda_emulated

package libtorch

// Graph runs its function again, where kernels are emulated on a CPU. Like that of a GPU it does not run it when it is captured.
type Graph struct{ f func(s *Scope) }

// Capture is that of graph.go.
func Capture(f func(s *Scope)) (*Graph, error) { return &Graph{f}, nil }

// Replay runs the function.
func (g *Graph) Replay() error { return Do(g.f) }

// Close is that of graph.go.
func (g *Graph) Close() {}
