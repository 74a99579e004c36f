// Package pickle reads Python's pickles as data: of protocols 2 to 5, what CIFAR's batches and PyTorch's state dicts are made
// of. It runs nothing: the classes and functions that a pickle may name are those that its reader knows, and what they
// would make the reader says.
package pickle

import (
	"bytes"
	"errors"
	"fmt"
)

// What a pickle makes, besides nil, bool, int64, float64, string (text, and short strings of Python 2), []byte (a part of
// the input) and what a Reader makes.
type (
	Tuple []any
	List  struct{ Items []any }
	// Dict keeps all pairs in order; keys may repeat, the last one counts.
	Dict struct{ Keys, Values []any }
	// Global is a class or function by its full name.
	Global string
	// Ignored is something that nobody needs, such as a very large integer.
	Ignored struct{}
	mark    struct{}
)

// Reader says what a pickle may hold, and makes the objects that it describes. Build and Persistent may be nil.
type Reader struct {
	// Known is the error if a class or function does not belong into the pickle.
	Known func(g Global) error
	// Call makes what a known class or function returns. It may keep what it is given, and a copy of it.
	Call func(g Global, args Tuple) (any, error)
	// Build gives an object its state; nil ignores states.
	Build func(object, state any) error
	// Persistent makes what a persistent id stands for.
	Persistent func(id Tuple) (any, error)
}

// A pickle of n bytes may take budgetFactor·n + budgetFixed bytes of memory. Real ones take less: they are mostly one large
// string, which is a part of the input, or smaller than a mebibyte.
const (
	budgetFactor = 4
	budgetFixed  = 16 << 20
)

// Budget is how many bytes of memory Read takes for a pickle of n bytes, all that it allocates counted, but for what
// Call, Build and Persistent make beyond a copy of what they are given.
func Budget(n int) int { return budgetFactor*n + budgetFixed }

var (
	errShort = errors.New("the pickle is cut off")
	errEmpty = errors.New("the pickle is malformed: its stack is empty")
	errLarge = errors.New("the pickle takes far more memory than it has bytes: it is damaged, or made to do harm")
)

// Read returns the object that data holds.
func (r *Reader) Read(data []byte) (any, error) {
	m := &machine{Reader: r, data: data, left: Budget(len(data)) - ownSize, memo: map[uint32]any{}}
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == OpStop {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, err
		}
	}
}

// machine has the state of a pickle that is read.
type machine struct {
	*Reader
	data  []byte
	stack []any
	memo  map[uint32]any
	left  int // of the budget
}

// Bytes in memory of a value on a stack or in a list, of a small object, and of an entry of the memo.
const (
	valueSize  = 16
	objectSize = 48
	memoSize   = 128
	ownSize    = 64 << 10 // of the machine
)

// spend takes n bytes from the budget.
func (m *machine) spend(n int) error {
	if m.left -= n; m.left < 0 {
		return errLarge
	}
	return nil
}

// grow appends values, for what they take when the memory behind them doubles.
func (m *machine) grow(to []any, values ...any) ([]any, error) {
	if need := len(to) + len(values); need > cap(to) {
		size := max(need, 2*cap(to), 8)
		if err := m.spend(size * valueSize); err != nil {
			return nil, err
		}
		to = append(make([]any, 0, size), to...)
	}
	return append(to, values...), nil
}

// push puts a value on the stack that takes size bytes itself.
func (m *machine) push(v any, size int) (err error) {
	if err = m.spend(size); err == nil {
		m.stack, err = m.grow(m.stack, v)
	}
	return err
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.data) {
		return nil, errShort
	}
	b := m.data[:n:n]
	m.data = m.data[n:]
	return b, nil
}

func (m *machine) line() (string, error) {
	n := bytes.IndexByte(m.data, '\n')
	if n < 0 {
		return "", errShort
	}
	b, err := m.take(n + 1)
	if err == nil {
		err = m.spend(n)
	}
	return string(b[:n]), err
}

func (m *machine) pop() (any, error) {
	items, err := m.popN(1)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// popN returns the last n items, in the order they were pushed, until the next push.
func (m *machine) popN(n int) ([]any, error) {
	at := len(m.stack) - n
	if at < 0 {
		return nil, errEmpty
	}
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return items, nil
}

// popMark returns the items above the last mark, until the next push, and drops the mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := m.stack[i+1:]
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("the pickle is malformed: a mark is missing")
}

// Get returns the value of a key, the last one; nil if there is none. Python 2 wrote text as bytes.
func (d *Dict) Get(key string) any {
	for i := len(d.Keys) - 1; i >= 0; i-- {
		if k, ok := Bytes(d.Keys[i]); ok && string(k) == key {
			return d.Values[i]
		}
	}
	return nil
}

// Bytes returns what v holds if it is text or bytes.
func Bytes(v any) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return []byte(v), true
	case []byte:
		return v, true
	}
	return nil, false
}

// sizeOf what a call may copy: text, and tuples of numbers.
func sizeOf(args Tuple) int {
	n := objectSize + len(args)*valueSize
	for _, a := range args {
		switch a := a.(type) {
		case string:
			n += len(a)
		case []byte:
			n += len(a)
		case Tuple:
			n += len(a) * valueSize
		}
	}
	return n
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("the pickle is malformed: "+format, args...)
}
