package group

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Place is where a process is in its group. Ranks are counted node by node: a node is a machine or a pod.
type Place struct {
	// Rank from 0, and the number of processes.
	Rank, Size int
	// PerNode is the number of processes on each node.
	PerNode int
	// Address is where the other nodes reach this process's node; unset if there is one node only. Port 0 is any.
	Address netip.AddrPort
	// Plain lets the nodes talk without TLS, and Gloo of each rank connect to those of other nodes itself. Whoever is in
	// their network can then read and change what the ranks say, and attack Gloo.
	Plain bool

	links map[int]net.Conn // by the rank at the other end, which is trusted
	node  *node            // of the first process of one of several nodes, once it has met the others
}

// Nodes is the number of machines or pods.
func (p *Place) Nodes() int { return p.Size / p.PerNode }

// Node is the number of this process's machine or pod, from 0.
func (p *Place) Node() int { return p.nodeOf(p.Rank) }

// Meets reports whether this process has to Meet those of other nodes. The others of its node are behind it.
func (p *Place) Meets() bool { return p.Nodes() > 1 && p.Rank == p.firstOf(p.Node()) }

// Close closes the connections, for a process that does not come to join its group.
func (p *Place) Close() {
	if p == nil {
		return
	}
	for _, conn := range p.links {
		conn.Close()
	}
	if p.node != nil {
		p.node.close()
	}
}

func (p *Place) nodeOf(rank int) int  { return rank / p.PerNode }
func (p *Place) firstOf(node int) int { return node * p.PerNode }

// name of a process, for people.
func (p *Place) name(rank int) string {
	if p.Nodes() == 1 {
		return fmt.Sprintf("rank %d of %d", rank, p.Size)
	}
	return fmt.Sprintf("rank %d of %d, on node %d,", rank, p.Size, p.nodeOf(rank))
}

// glooHost is the address on which Gloo of this process listens.
func (p *Place) glooHost() string {
	if p.Plain && p.Nodes() > 1 {
		return p.Address.Addr().String()
	}
	return loopback(p.Rank).String()
}

// loopback is the address on which Gloo of a rank listens, and on which its node's forwarder stands for a rank of
// another node. Gloo compares addresses to find out which of two ranks connects to the other: they have the order of the
// ranks, everywhere.
func loopback(rank int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 1, byte((rank + 1) >> 8), byte(rank + 1)})
}

// shape is how a node was started, and with what: all of a training must be alike. Gloo of one version can crash on what that of
// another one says.
type shape struct {
	Nodes, Processes int
	Libtorch         string
}

func (p *Place) shape() shape { return shape{p.Nodes(), p.PerNode, libtorch.Version()} }

// encryptsAs compares what nodes cannot tell each other, because it decides how they talk. Errors: exit code 64.
func (p *Place) encryptsAs(other int, r *record) error {
	if r.Plain == p.Plain {
		return nil
	}
	return exit.Errorf(contract.ExitConfig, "node %d was started with spec.distributed.encryption: %t, node %d with %t: "+
		"all nodes of a training must be alike", other, !r.Plain, p.Node(), !p.Plain)
}

// alike says what of another node differs. Errors: exit code 64.
func (p *Place) alike(other int, theirs shape) error {
	for _, option := range []struct {
		name         string
		theirs, ours any
	}{
		{"--nnodes", theirs.Nodes, p.Nodes()},
		{"--processes", theirs.Processes, p.PerNode},
		{"libtorch", theirs.Libtorch, libtorch.Version()},
	} {
		if option.theirs != option.ours {
			return exit.Errorf(contract.ExitConfig, "node %d was started with %s %v, node %d with %s %v: all nodes of a training "+
				"must be alike", other, option.name, option.theirs, p.Node(), option.name, option.ours)
		}
	}
	return nil
}
