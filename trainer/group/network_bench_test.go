package group

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// BenchmarkNode is one node of bench/network.sh, which sets NODE ("1/4", the second of four), ADDRESS, FOLDER, where all
// of them meet, PLAIN and COMPRESS (true or false). Node 0 measures.
func BenchmarkNode(b *testing.B) {
	var number, count int
	if n, _ := fmt.Sscanf(os.Getenv("NODE"), "%d/%d", &number, &count); n != 2 {
		b.Skip("for bench/network.sh")
	}
	quiet := telemetry.NewContext(b.Context(), slog.New(slog.DiscardHandler), nil)
	st, err := store.Open(quiet, "file://"+os.Getenv("FOLDER"), nil)
	must(b, err)
	// go test calls a benchmark with b.N = 1 first: all nodes meet anew for each.
	owner := fmt.Sprintf("a1-ROUND%d", b.N)
	n := nodes{Rendezvous: Rendezvous{Store: st, Owner: always(owner)}, count: count, perNode: 1,
		plain: os.Getenv("PLAIN") == "true", address: netip.AddrPortFrom(netip.MustParseAddr(os.Getenv("ADDRESS")), 0)}
	must(b, n.run(quiet, b, number, func(g *Group) error {
		return errors.Join(means(b, g, os.Getenv("COMPRESS") == "true"), g.Leave(b.Context()))
	}))
}
