package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A reader for the pickles of CIFAR's Python version, and nothing else: dictionaries, lists, tuples, strings, integers,
// and arrays of bytes by numpy. It runs no code: the two or three names that such a pickle may call are known, all
// others are refused. Memory is bounded by the size of the input.
// Opcodes: Lib/pickletools.py of CPython; protocols 2 to 4.

// Values on the stack: int64, []byte (strings and bytes), *pickleList, *pickleDict, pickleTuple, pickleGlobal,
// *pickleArray, *pickleDtype, pickleMark, bool, nil.
type (
	pickleMark   struct{}
	pickleTuple  []any
	pickleList   struct{ items []any }
	pickleDict   struct{ keys, values []any }
	pickleGlobal string
	// pickleArray is a numpy array; data is nil until its state was set.
	pickleArray struct{ data []byte }
	pickleDtype struct{ name string }
)

// cifarPickle returns data and labels of a batch.
func cifarPickle(b []byte, labelKey string) (planes []byte, labels []int64, err error) {
	p := &unpickler{in: b, memo: map[int]any{}}
	v, err := p.run()
	if err != nil {
		return nil, nil, fmt.Errorf("is not a pickle of CIFAR (at byte %d): %w", p.pos, err)
	}
	d, ok := v.(*pickleDict)
	if !ok {
		return nil, nil, errors.New("is not a pickled dictionary")
	}
	array, _ := d.get("data").(*pickleArray)
	list, _ := d.get(labelKey).(*pickleList)
	if array == nil || array.data == nil || list == nil {
		return nil, nil, fmt.Errorf("is a pickle without an array of bytes %q and a list %q", "data", labelKey)
	}
	labels = make([]int64, len(list.items))
	for i, item := range list.items {
		if labels[i], ok = item.(int64); !ok {
			return nil, nil, fmt.Errorf("label of image %d is not a number", i)
		}
	}
	return array.data, labels, nil
}

func (d *pickleDict) get(key string) any {
	for i, k := range d.keys {
		if s, ok := k.([]byte); ok && string(s) == key {
			return d.values[i]
		}
	}
	return nil
}

type unpickler struct {
	in    []byte
	pos   int
	stack []any
	memo  map[int]any
}

// errPickle is the panic with which take and pop leave run.
type errPickle struct{ error }

func (p *unpickler) fail(format string, args ...any) { panic(errPickle{fmt.Errorf(format, args...)}) }

func (p *unpickler) run() (v any, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case errPickle:
			err = e.error
		default:
			panic(e)
		}
	}()
	for {
		op := p.take(1)[0]
		if op == '.' { // STOP
			return p.pop(), nil
		}
		p.step(op)
	}
}

func (p *unpickler) take(n int) []byte {
	if n < 0 || n > len(p.in)-p.pos {
		p.fail("the file is cut off")
	}
	p.pos += n
	return p.in[p.pos-n : p.pos : p.pos]
}

func (p *unpickler) line() []byte {
	n := bytes.IndexByte(p.in[p.pos:], '\n')
	if n < 0 {
		p.fail("the file is cut off")
	}
	return p.take(n + 1)[:n]
}

func (p *unpickler) uint(size int) int {
	b := make([]byte, 8)
	copy(b, p.take(size))
	return int(binary.LittleEndian.Uint64(b)) // a negative one is refused by take
}

func (p *unpickler) push(v any) { p.stack = append(p.stack, v) }

func (p *unpickler) pop() any {
	if len(p.stack) == 0 {
		p.fail("the stack is empty")
	}
	v := p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	return v
}

// popMark returns what lies above the last mark.
func (p *unpickler) popMark() []any {
	for i := len(p.stack) - 1; i >= 0; i-- {
		if _, ok := p.stack[i].(pickleMark); ok {
			items := slices.Clone(p.stack[i+1:])
			p.stack = p.stack[:i]
			return items
		}
	}
	p.fail("there is no mark")
	return nil
}

func (p *unpickler) popN(n int) []any {
	items := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		items[i] = p.pop()
	}
	return items
}

func (p *unpickler) top() any {
	v := p.pop()
	p.push(v)
	return v
}
