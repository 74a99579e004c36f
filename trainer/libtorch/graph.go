//go:build !cuda_emulated

package libtorch

// #include "internal/cpp/libtorch.h"
import "C"

import "runtime"

// Graph is work on a GPU that was recorded (a CUDA graph): to replay it costs the host one call. The tensors that it works on must
// live as long as it does.
type Graph struct{ g C.lt_graph }

// Capture records what f asks of the device, without doing it. Neither f nor anything else may wait for the device meanwhile.
func Capture(f func(s *Scope)) (*Graph, error) {
	g := &Graph{}
	if err := call("graph_begin", func() C.lt_message { return C.lt_graph_begin(&g.g) }); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(g, func(g *Graph) { C.lt_graph_delete(g.g) })
	err := Do(f)
	if end := call("graph_end", func() C.lt_message { return C.lt_graph_end(g.g) }); err == nil {
		err = end
	}
	return g, err
}

// Replay does it, on the current stream, without waiting for it.
func (g *Graph) Replay() error {
	defer runtime.KeepAlive(g)
	return call("graph_replay", func() C.lt_message { return C.lt_graph_replay(g.g) })
}
