package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The operations, by the names of CPython's Lib/pickletools.py.
const (
	OpMark           = '('
	OpStop           = '.'
	OpPop            = '0'
	OpPopMark        = '1'
	OpBinFloat       = 'G'
	OpBinInt         = 'J'
	OpBinInt1        = 'K'
	OpBinInt2        = 'M'
	OpNone           = 'N'
	OpBinPersID      = 'Q'
	OpReduce         = 'R'
	OpBinString      = 'T'
	OpShortBinString = 'U'
	OpBinUnicode     = 'X'
	OpBinBytes       = 'B'
	OpShortBinBytes  = 'C'
	OpBuild          = 'b'
	OpGlobal         = 'c'
	OpAppend         = 'a'
	OpAppends        = 'e'
	OpBinGet         = 'h'
	OpLongBinGet     = 'j'
	OpBinPut         = 'q'
	OpLongBinPut     = 'r'
	OpSetItem        = 's'
	OpSetItems       = 'u'
	OpTuple          = 't'
	OpEmptyDict      = '}'
	OpEmptyList      = ']'
	OpEmptyTuple     = ')'
	OpProto          = 0x80
	OpNewObj         = 0x81
	OpTuple1         = 0x85
	OpTuple2         = 0x86
	OpTuple3         = 0x87
	OpNewTrue        = 0x88
	OpNewFalse       = 0x89
	OpLong1          = 0x8a
	OpShortUnicode   = 0x8c
	OpBinUnicode8    = 0x8d
	OpBinBytes8      = 0x8e
	OpStackGlobal    = 0x93
	OpMemoize        = 0x94
	OpFrame          = 0x95
)

// step does one operation but OpStop.
func (m *machine) step(op byte) error {
	switch op {
	case OpProto:
		_, err := m.take(1)
		return err
	case OpFrame:
		_, err := m.take(8)
		return err
	case OpMark:
		return m.push(mark{}, 0)
	case OpNone:
		return m.push(nil, 0)
	case OpNewTrue, OpNewFalse:
		return m.push(op == OpNewTrue, 0)
	case OpEmptyDict:
		return m.push(&Dict{}, objectSize)
	case OpEmptyList:
		return m.push(&List{}, objectSize)
	case OpEmptyTuple:
		return m.push(Tuple{}, objectSize)
	case OpPop:
		_, err := m.pop()
		return err
	case OpPopMark:
		_, err := m.popMark()
		return err
	case OpBinInt, OpBinInt1, OpBinInt2, OpLong1, OpBinFloat:
		return m.number(op)
	case OpBinUnicode, OpBinUnicode8, OpShortUnicode, OpShortBinString, OpBinString, OpBinBytes, OpBinBytes8, OpShortBinBytes:
		return m.text(op)
	case OpTuple, OpTuple1, OpTuple2, OpTuple3:
		return m.tuple(op)
	case OpAppend, OpAppends, OpSetItem, OpSetItems:
		return m.fill(op)
	case OpBinPut, OpLongBinPut, OpMemoize, OpBinGet, OpLongBinGet:
		return m.remember(op)
	case OpGlobal, OpStackGlobal:
		return m.global(op)
	case OpReduce, OpNewObj, OpBuild, OpBinPersID:
		return m.object(op)
	}
	return fmt.Errorf("the pickle has the instruction 0x%02x, which does not belong in it", op)
}

func (m *machine) number(op byte) error {
	b, err := m.take(map[byte]int{OpBinInt1: 1, OpBinInt2: 2, OpBinInt: 4, OpBinFloat: 8, OpLong1: 1}[op])
	if err != nil {
		return err
	}
	switch op {
	case OpBinFloat:
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)), 8)
	case OpLong1:
		if b, err = m.take(int(b[0])); err != nil {
			return err
		}
		if len(b) > 8 {
			return m.push(Ignored{}, 0) // such as a random seed: no size of ours is that large
		}
	}
	n := little(b)
	if signed := op == OpBinInt || op == OpLong1; signed && len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		n |= math.MaxUint64 << (8*len(b) - 1)
	}
	return m.push(int64(n), 8)
}

func little(b []byte) (n uint64) {
	for i, v := range b {
		n |= uint64(v) << (8 * i)
	}
	return n
}

// text pushes text as a string, and bytes as a part of the input.
func (m *machine) text(op byte) error {
	size := 1
	switch op {
	case OpBinUnicode, OpBinString, OpBinBytes:
		size = 4
	case OpBinUnicode8, OpBinBytes8:
		size = 8
	}
	b, err := m.take(size)
	if err != nil {
		return err
	}
	length := little(b)
	if length > uint64(len(m.data)) {
		return errShort
	}
	if b, err = m.take(int(length)); err != nil {
		return err
	}
	switch op {
	case OpBinString, OpBinBytes, OpBinBytes8, OpShortBinBytes:
		return m.push(b, objectSize)
	}
	return m.push(string(b), objectSize+len(b))
}

func (m *machine) tuple(op byte) (err error) {
	var items []any
	if op == OpTuple {
		items, err = m.popMark()
	} else {
		items, err = m.popN(int(op-OpTuple1) + 1)
	}
	if err == nil {
		err = m.spend(len(items) * valueSize)
	}
	if err != nil {
		return err
	}
	return m.push(append(make(Tuple, 0, len(items)), items...), objectSize)
}

// fill adds items to a list or dict, which stays on the stack.
func (m *machine) fill(op byte) (err error) {
	var items []any
	switch op {
	case OpAppends, OpSetItems:
		items, err = m.popMark()
	case OpAppend:
		items, err = m.popN(1)
	case OpSetItem:
		items, err = m.popN(2)
	}
	if err != nil {
		return err
	}
	if len(m.stack) == 0 {
		return errEmpty
	}
	switch to := m.stack[len(m.stack)-1].(type) {
	case *List:
		if op == OpAppend || op == OpAppends {
			to.Items, err = m.grow(to.Items, items...)
			return err
		}
	case *Dict:
		if op != OpSetItem && op != OpSetItems || len(items)%2 != 0 {
			break
		}
		for i := 0; i < len(items) && err == nil; i += 2 {
			if to.Keys, err = m.grow(to.Keys, items[i]); err == nil {
				to.Values, err = m.grow(to.Values, items[i+1])
			}
		}
		return err
	}
	return malformed("it adds items to something that holds none")
}

func (m *machine) remember(op byte) error {
	index := uint32(len(m.memo))
	if op != OpMemoize {
		b, err := m.take(map[byte]int{OpBinPut: 1, OpBinGet: 1, OpLongBinPut: 4, OpLongBinGet: 4}[op])
		if err != nil {
			return err
		}
		index = uint32(little(b))
	}
	if op == OpBinGet || op == OpLongBinGet {
		value, ok := m.memo[index]
		if !ok {
			return malformed("nothing was stored at %d", index)
		}
		return m.push(value, 0)
	}
	if len(m.stack) == 0 {
		return errEmpty
	}
	m.memo[index] = m.stack[len(m.stack)-1]
	return m.spend(memoSize)
}

func (m *machine) global(op byte) (err error) {
	var module, name string
	if op == OpGlobal {
		if module, err = m.line(); err != nil {
			return err
		}
		if name, err = m.line(); err != nil {
			return err
		}
	} else {
		items, err := m.popN(2)
		if err == nil {
			err = m.spend(3 * sizeOf(items))
		}
		if err != nil {
			return err
		}
		first, ok1 := Bytes(items[0])
		second, ok2 := Bytes(items[1])
		if !ok1 || !ok2 {
			return malformed("a class has no name")
		}
		module, name = string(first), string(second)
	}
	g := Global(module + "." + name)
	if err := m.Known(g); err != nil {
		return err
	}
	return m.push(g, objectSize+len(g))
}

// object makes objects of known classes.
func (m *machine) object(op byte) error {
	if op == OpBinPersID {
		id, err := m.pop()
		if err != nil {
			return err
		}
		if m.Persistent == nil {
			return malformed("it refers to something outside of it")
		}
		tuple, _ := id.(Tuple)
		if err := m.spend(sizeOf(tuple)); err != nil {
			return err
		}
		object, err := m.Persistent(tuple)
		if err != nil {
			return err
		}
		return m.push(object, objectSize)
	}
	items, err := m.popN(2)
	if err != nil {
		return err
	}
	if op == OpBuild {
		if m.Build != nil {
			state, _ := items[1].(Tuple)
			if err = m.spend(sizeOf(state)); err == nil {
				err = m.Build(items[0], items[1])
			}
		}
		m.stack = m.stack[:len(m.stack)+1] // the object stays
		return err
	}
	f, ok1 := items[0].(Global)
	args, ok2 := items[1].(Tuple)
	if !ok1 || !ok2 {
		return malformed("it calls something that is no function")
	}
	if err := m.spend(sizeOf(args)); err != nil {
		return err
	}
	object, err := m.Call(f, args)
	if err != nil {
		return err
	}
	return m.push(object, objectSize)
}
