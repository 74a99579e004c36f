//go:build !cuda_emulated

package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

// Graph is work on a GPU that was recorded (a CUDA graph): to replay it costs the host one call. The tensors that it works on must
// live as long as it does.
type Graph struct{ g C.lt_graph }

// Capture records what f asks of the device, without doing it. Neither f nor anything else may wait for the device meanwhile. A Graph
// that is no longer needed must be closed before the next capture.
func Capture(f func(s *Scope)) (*Graph, error) {
	g := &Graph{}
	if err := call("graph_begin", func() C.lt_message { return C.lt_graph_begin(&g.g) }); err != nil {
		return nil, err
	}
	err := Do(f)
	if end := call("graph_end", func() C.lt_message { return C.lt_graph_end(g.g) }); err == nil {
		err = end
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// Replay does it, on the current stream, without waiting for it.
func (g *Graph) Replay() error {
	return call("graph_replay", func() C.lt_message { return C.lt_graph_replay(g.g) })
}

// Close frees the graph and its memory, once the device has done what was asked. A nil Graph is closed.
func (g *Graph) Close() {
	if g != nil {
		C.lt_graph_delete(g.g)
	}
}
