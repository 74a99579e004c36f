package collective

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestAddresses reads what Gloo of Debian 12 and of Debian 13 leaves for rank 1 of three, and changes it.
func TestAddresses(t *testing.T) {
	earlier := slices.Concat(address(0x10), address(0x20))
	for _, test := range []struct {
		name            string
		value, changed  []byte
		zero, two, then uint16
	}{
		{"a port for each rank", earlier, slices.Concat(address(0x10), address(0x99)), 0x1000, 0x2000, 0x1000},
		{"a port for all", later("host", 0x30), later("host", 0x99), 0x3000, 0x3000, 0x9900},
		{"without a name", later("", 0x30), later("", 0x99), 0x3000, 0x3000, 0x9900},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := bytes.Clone(test.value)
			a, err := ParseAddresses(test.value, 1, 3)
			if err != nil {
				t.Fatal(err)
			}
			if zero, two := a.Port(0), a.Port(2); zero != test.zero || two != test.two {
				t.Errorf("ports %x and %x", zero, two)
			}
			a.SetPort(2, 0x9900)
			if !bytes.Equal(a.Value(), test.changed) || a.Port(0) != test.then {
				t.Errorf("changed to %x", a.Value())
			}
			if !bytes.Equal(test.value, before) {
				t.Error("what was given has changed")
			}
			if !a.Shared() {
				return
			}
			for number, want := range map[byte]int{7: 0, 9: 2} {
				if rank, ok := a.Caller(Number{number}); rank != want || !ok {
					t.Errorf("number %d: rank %d, %v", number, rank, ok)
				}
			}
			for _, number := range []byte{8, 10} { // its own, and nobody's
				if rank, ok := a.Caller(Number{number}); ok {
					t.Errorf("number %d: rank %d", number, rank)
				}
			}
		})
	}
}

// TestUnknownAddresses: what would let Gloo read beyond its memory is no form that is known.
func TestUnknownAddresses(t *testing.T) {
	for name, value := range map[string][]byte{
		"nothing":            nil,
		"cut":                later("host", 0x30)[:100],
		"cut in a number":    later("host", 0x30)[:len(later("host", 0x30))-1],
		"a number more":      append(later("host", 0x30), 1, 0, 0, 0, 0, 0, 0, 0),
		"a long name":        later(strings.Repeat("x", 65), 0x30),
		"a size without end": bytes.Repeat([]byte{0xff}, 200),
		"of another group":   address(0x10),
		"no address":         make([]byte, 2*addressSize),
		"of IPv6":            bytes.Replace(later("host", 0x30), []byte{2, 0, 0x30}, []byte{10, 0, 0x30}, 1),
	} {
		if a, err := ParseAddresses(value, 1, 3); err == nil {
			t.Errorf("%s: %v", name, a)
		}
	}
}

// address as Gloo has it in memory.
func address(port byte) []byte {
	a := make([]byte, addressSize)
	copy(a, []byte{2, 0, port, 0, 127, 1, 0, 2})
	return a
}

// later is the form of a rank that awaits all on one port: rank 0 by number 7, the others by 8 and 9.
func later(host string, port byte) []byte {
	number := func(n byte) []byte { return []byte{n, 0, 0, 0, 0, 0, 0, 0} }
	return slices.Concat(number(byte(len(host))), []byte(host), number(addressSize), address(port), number(7), number(8), number(9))
}
