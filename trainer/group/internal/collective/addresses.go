package collective

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
)

// Addresses are where a rank awaits the others, as its Gloo leaves it in the Store. There are two forms of it:
//
//   - until 2023, as in Debian 12, Gloo awaits each other rank on a port of its own, and lists these addresses in the order of the
//     ranks, without its own (gloo/rendezvous/context.cc);
//   - later, as in Debian 13, it awaits all on one port, where each begins with its number: size and name of the host, size and
//     address, and the number for each rank, its own included (gloo/transport/tcp/context.cc, Rank).
//
// An address is a sockaddr_storage of 128 bytes and a number (gloo/transport/tcp/address.h). Sizes and numbers have 8 bytes.
type Addresses struct {
	value   []byte
	rank    int
	shared  int      // offset of the one address; 0 where each rank has one
	numbers []Number // of all ranks, if it is shared
}

// Number is what a rank says first on a port that it shares with others.
type Number [8]byte

const (
	addressSize = 136
	mostName    = 64 // HOST_NAME_MAX
	familyIPv4  = 2  // AF_INET; behind it are the port, and the address, in network order
)

// HoldsAddresses reports whether a key is that of the Addresses of a rank: 0/<rank>, where c10d's prefix says by which
// device.
func HoldsAddresses(key string, rank int) bool { return path.Base(key) == strconv.Itoa(rank) }

// ParseAddresses reads what the Gloo of a rank has left for a group of size processes, on IPv4.
func ParseAddresses(value []byte, rank, size int) (*Addresses, error) {
	a := &Addresses{value: slices.Clone(value), rank: rank}
	addresses := a.value
	if a.share(size) {
		addresses = addresses[a.shared:][:addressSize]
	} else if len(value) != (size-1)*addressSize {
		return nil, fmt.Errorf("the addresses of Gloo have %d bytes for %d ranks, in a form that is not known", len(value), size)
	}
	for address := range slices.Chunk(addresses, addressSize) {
		if binary.NativeEndian.Uint16(address) != familyIPv4 {
			return nil, errors.New("the addresses of Gloo are not of IPv4, or in a form that is not known")
		}
	}
	return a, nil
}

// share reads the later form, and reports whether it is that.
func (a *Addresses) share(size int) bool {
	rest := a.value
	next := func() (n int) {
		if len(rest) >= 8 {
			n, rest = int(binary.NativeEndian.Uint64(rest)), rest[8:]
		}
		return n
	}
	name := next()
	if name < 0 || name > min(mostName, len(rest)) {
		return false
	}
	rest = rest[name:]
	if next() != addressSize || len(rest) != addressSize+size*len(Number{}) {
		return false
	}
	a.shared = len(a.value) - len(rest)
	for numbers := range slices.Chunk(rest[addressSize:], len(Number{})) {
		a.numbers = append(a.numbers, Number(numbers))
	}
	return true
}

// Shared reports whether one port is for all ranks.
func (a *Addresses) Shared() bool { return a.shared > 0 }

// Caller returns which rank begins with a number on a port that is shared.
func (a *Addresses) Caller(n Number) (rank int, ok bool) {
	rank = slices.Index(a.numbers, n)
	return rank, rank >= 0 && rank != a.rank
}

// Port on which another rank is awaited.
func (a *Addresses) Port(other int) uint16 { return binary.BigEndian.Uint16(a.port(other)) }

// SetPort lets another rank, or all where they share it, connect to another port.
func (a *Addresses) SetPort(other int, port uint16) { binary.BigEndian.PutUint16(a.port(other), port) }

// Value is what Gloo reads of them.
func (a *Addresses) Value() []byte { return a.value }

func (a *Addresses) port(other int) []byte {
	at := a.shared
	if !a.Shared() {
		if other > a.rank {
			other-- // no entry is for rank itself
		}
		at = other * addressSize
	}
	return a.value[at+2:]
}
