package export

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Opcodes of pickle protocol 2, which torch.save uses, and those of 4 and 5 for the same things (Python's pickletools).
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opBinFloat       = 'G'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opNone           = 'N'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opBinUnicode     = 'X'
	opBuild          = 'b'
	opGlobal         = 'c'
	opAppend         = 'a'
	opAppends        = 'e'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opSetItems       = 'u'
	opTuple          = 't'
	opEmptyDict      = '}'
	opEmptyList      = ']'
	opEmptyTuple     = ')'
	opProto          = 0x80
	opNewObj         = 0x81
	opTuple1         = 0x85
	opTuple2         = 0x86
	opTuple3         = 0x87
	opNewTrue        = 0x88
	opNewFalse       = 0x89
	opLong1          = 0x8a
	opShortBinString = 'U'
	opShortUnicode   = 0x8c
	opStackGlobal    = 0x93
	opMemoize        = 0x94
	opFrame          = 0x95
)

// What a pickle makes, besides nil, bool, int64, float64 and string.
type (
	pyTuple []any
	pyList  struct{ items []any }
	// pyDict keeps all pairs in order; keys may repeat, the last one counts.
	pyDict struct{ keys, values []any }
	// pyGlobal is a class or function by its full name. None is ever called.
	pyGlobal string
	// pyIgnored is a harmless object that holds no weights, such as a torch.device.
	pyIgnored struct{}
	pyMark    struct{}
)

// unpickler is a pickle machine that knows only what a state dict is made of. It runs nothing: a class that it does not
// know is an error.
type unpickler struct {
	data  []byte
	stack []any
	memo  map[uint32]any
	// load makes a tensor's storage from its persistent id, call applies one of the known functions.
	load func(id pyTuple) (any, error)
	call func(f pyGlobal, args pyTuple) (any, error)
}

var errPickleShort = errors.New("the pickle is cut off")

// unpickle returns the object that data holds.
func (u *unpickler) unpickle() (any, error) {
	u.memo = map[uint32]any{}
	for {
		b, err := u.take(1)
		if err != nil {
			return nil, err
		}
		if b[0] == opStop {
			return u.pop()
		}
		if err := u.step(b[0]); err != nil {
			return nil, err
		}
	}
}

func (u *unpickler) step(op byte) error {
	switch op {
	case opProto, opFrame:
		_, err := u.take(map[byte]int{opProto: 1, opFrame: 8}[op])
		return err
	case opMark:
		u.push(pyMark{})
	case opNone:
		u.push(nil)
	case opNewTrue, opNewFalse:
		u.push(op == opNewTrue)
	case opEmptyDict:
		u.push(&pyDict{})
	case opEmptyList:
		u.push(&pyList{})
	case opEmptyTuple:
		u.push(pyTuple{})
	case opPop:
		_, err := u.pop()
		return err
	case opPopMark:
		_, err := u.popMark()
		return err
	case opBinInt, opBinInt1, opBinInt2, opLong1, opBinFloat:
		return u.number(op)
	case opBinUnicode, opShortUnicode, opShortBinString:
		return u.text(op)
	case opTuple, opTuple1, opTuple2, opTuple3:
		return u.tuple(op)
	case opAppend, opAppends, opSetItem, opSetItems:
		return u.fill(op)
	case opBinPut, opLongBinPut, opMemoize, opBinGet, opLongBinGet:
		return u.remember(op)
	case opGlobal, opStackGlobal:
		return u.global(op)
	case opReduce, opNewObj, opBuild, opBinPersID:
		return u.object(op)
	default:
		return fmt.Errorf("the pickle has the instruction 0x%02x, which no state dict needs", op)
	}
	return nil
}

func (u *unpickler) number(op byte) error {
	size := map[byte]int{opBinInt1: 1, opBinInt2: 2, opBinInt: 4, opBinFloat: 8, opLong1: 1}[op]
	b, err := u.take(size)
	if err != nil {
		return err
	}
	switch op {
	case opBinFloat:
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		return nil
	case opLong1:
		n := int(b[0])
		if b, err = u.take(n); err != nil {
			return err
		}
		if n > 8 {
			u.push(pyIgnored{}) // such as a random seed: no size of ours is that large
			return nil
		}
	}
	var n uint64
	for i, v := range b {
		n |= uint64(v) << (8 * i)
	}
	if signed := op == opBinInt || op == opLong1; signed && len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		n |= math.MaxUint64 << (8*len(b) - 1)
	}
	u.push(int64(n))
	return nil
}

func (u *unpickler) text(op byte) error {
	size := 1
	if op == opBinUnicode {
		size = 4
	}
	b, err := u.take(size)
	if err != nil {
		return err
	}
	length := uint64(b[0])
	if size == 4 {
		length = uint64(binary.LittleEndian.Uint32(b))
	}
	if length > uint64(len(u.data)) {
		return errPickleShort
	}
	b, err = u.take(int(length))
	u.push(string(b))
	return err
}

func (u *unpickler) tuple(op byte) error {
	if op == opTuple {
		items, err := u.popMark()
		u.push(pyTuple(items))
		return err
	}
	n := int(op-opTuple1) + 1
	t := make(pyTuple, n)
	for i := n - 1; i >= 0; i-- {
		var err error
		if t[i], err = u.pop(); err != nil {
			return err
		}
	}
	u.push(t)
	return nil
}

// fill adds items to a list or dict, which stays on the stack.
func (u *unpickler) fill(op byte) error {
	var items []any
	var err error
	switch op {
	case opAppends, opSetItems:
		items, err = u.popMark()
	case opAppend:
		items, err = u.popN(1)
	case opSetItem:
		items, err = u.popN(2)
	}
	if err != nil {
		return err
	}
	if len(u.stack) == 0 {
		return errors.New("the pickle is malformed: its stack is empty")
	}
	switch target := u.stack[len(u.stack)-1].(type) {
	case *pyList:
		if op == opAppend || op == opAppends {
			target.items = append(target.items, items...)
			return nil
		}
	case *pyDict:
		if (op == opSetItem || op == opSetItems) && len(items)%2 == 0 {
			for i := 0; i < len(items); i += 2 {
				target.keys, target.values = append(target.keys, items[i]), append(target.values, items[i+1])
			}
			return nil
		}
	}
	return errors.New("the pickle is malformed: it adds items to something that holds none")
}

func (u *unpickler) remember(op byte) error {
	index := uint32(len(u.memo))
	if op != opMemoize {
		size := map[byte]int{opBinPut: 1, opBinGet: 1, opLongBinPut: 4, opLongBinGet: 4}[op]
		b, err := u.take(size)
		if err != nil {
			return err
		}
		index = uint32(b[0])
		if size == 4 {
			index = binary.LittleEndian.Uint32(b)
		}
	}
	if op == opBinGet || op == opLongBinGet {
		value, ok := u.memo[index]
		if !ok {
			return fmt.Errorf("the pickle is malformed: nothing was stored at %d", index)
		}
		u.push(value)
		return nil
	}
	if len(u.stack) == 0 {
		return errors.New("the pickle is malformed: its stack is empty")
	}
	u.memo[index] = u.stack[len(u.stack)-1]
	return nil
}

func (u *unpickler) global(op byte) error {
	var module, name string
	if op == opGlobal {
		lines := bytes.SplitN(u.data, []byte("\n"), 3)
		if len(lines) < 3 {
			return errPickleShort
		}
		module, name, u.data = string(lines[0]), string(lines[1]), lines[2]
	} else {
		items, err := u.popN(2)
		if err != nil {
			return err
		}
		var ok1, ok2 bool
		module, ok1 = items[0].(string)
		name, ok2 = items[1].(string)
		if !ok1 || !ok2 {
			return errors.New("the pickle is malformed: a class has no name")
		}
	}
	g := pyGlobal(module + "." + name)
	if !knownGlobal(g) {
		return foreignError(g)
	}
	u.push(g)
	return nil
}

// foreignError says what to do about a class that is no part of a state dict.
func foreignError(g pyGlobal) error {
	name := fmt.Sprintf("%.80q", strings.ReplaceAll(string(g), "\n", " "))
	return fmt.Errorf("the pickle refers to %s, which is no part of a state dict and is not run: save model.state_dict() alone", name)
}

// object makes objects of known classes.
func (u *unpickler) object(op byte) error {
	if op == opBinPersID {
		id, err := u.pop()
		if err != nil {
			return err
		}
		tuple, _ := id.(pyTuple)
		storage, err := u.load(tuple)
		u.push(storage)
		return err
	}
	items, err := u.popN(2)
	if err != nil {
		return err
	}
	if op == opBuild { // attributes, such as the _metadata of a state dict: not needed
		u.push(items[0])
		return nil
	}
	f, ok1 := items[0].(pyGlobal)
	args, ok2 := items[1].(pyTuple)
	if !ok1 || !ok2 {
		return errors.New("the pickle is malformed: it calls something that is no function")
	}
	result, err := u.call(f, args)
	u.push(result)
	return err
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) take(n int) ([]byte, error) {
	if n > len(u.data) {
		return nil, errPickleShort
	}
	b := u.data[:n]
	u.data = u.data[n:]
	return b, nil
}

func (u *unpickler) pop() (any, error) {
	items, err := u.popN(1)
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// popN returns the last n items, in the order they were pushed.
func (u *unpickler) popN(n int) ([]any, error) {
	if n > len(u.stack) {
		return nil, errors.New("the pickle is malformed: its stack is empty")
	}
	items := append([]any(nil), u.stack[len(u.stack)-n:]...)
	u.stack = u.stack[:len(u.stack)-n]
	return items, nil
}

// popMark returns the items above the last mark, and drops the mark.
func (u *unpickler) popMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, ok := u.stack[i].(pyMark); ok {
			items := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("the pickle is malformed: a mark is missing")
}
