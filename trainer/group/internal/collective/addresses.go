package collective

import (
	"encoding/binary"
	"errors"
	"path"
	"strconv"
)

// Addresses are what a process leaves in the Store: for each other process, in the order of the ranks, the address and
// port on which it awaits that one. In memory one is a sockaddr_storage of 128 bytes and a number of 8 (Gloo's
// transport/tcp/address.h).
type Addresses []byte

const (
	addressSize = 136
	familyIPv4  = 2 // AF_INET; behind it are the port, and the address, in network order
)

// HoldsAddresses reports whether a key is that of the Addresses of a rank: 0/<rank>, where c10d's prefix says by which
// device (Gloo's rendezvous/context.cc).
func HoldsAddresses(key string, rank int) bool { return path.Base(key) == strconv.Itoa(rank) }

// Check reports what is not as Gloo for IPv4 writes it for a group of size processes.
func (a Addresses) Check(size int) error {
	if len(a) != (size-1)*addressSize {
		return errors.New("gloo's addresses are of another size than expected")
	}
	for i := range size - 1 {
		if binary.NativeEndian.Uint16(a[i*addressSize:]) != familyIPv4 {
			return errors.New("gloo's addresses are not of IPv4")
		}
	}
	return nil
}

// Port on which rank awaits another one.
func (a Addresses) Port(rank, other int) uint16 {
	return binary.BigEndian.Uint16(a.port(rank, other))
}

// SetPort makes other connect to another port, to reach rank.
func (a Addresses) SetPort(rank, other int, port uint16) {
	binary.BigEndian.PutUint16(a.port(rank, other), port)
}

func (a Addresses) port(rank, other int) []byte {
	if other > rank {
		other-- // no entry is for rank itself
	}
	return a[other*addressSize+2:]
}
