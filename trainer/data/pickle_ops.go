package data

import (
	"encoding/binary"
	"slices"
	"strings"
)

// step does one operation but STOP.
func (p *unpickler) step(op byte) {
	switch op {
	case 0x80: // PROTO
		p.take(1)
	case 0x95: // FRAME
		p.take(8)
	case '(': // MARK
		p.push(pickleMark{})
	case 'N': // NONE
		p.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		p.push(op == 0x88)
	case '0': // POP
		p.pop()
	case 'K': // BININT1
		p.push(int64(p.uint(1)))
	case 'M': // BININT2
		p.push(int64(p.uint(2)))
	case 'J': // BININT
		p.push(int64(int32(binary.LittleEndian.Uint32(p.take(4)))))
	case 'U', 'C', 0x8c: // SHORT_BINSTRING, SHORT_BINBYTES, SHORT_BINUNICODE
		p.push(p.take(p.uint(1)))
	case 'T', 'B', 'X': // BINSTRING, BINBYTES, BINUNICODE
		p.push(p.take(p.uint(4)))
	case 0x8e, 0x8d: // BINBYTES8, BINUNICODE8
		p.push(p.take(p.uint(8)))
	case 'q': // BINPUT
		p.memo[p.uint(1)] = p.top()
	case 'r': // LONG_BINPUT
		p.memo[p.uint(4)] = p.top()
	case 0x94: // MEMOIZE
		p.memo[len(p.memo)] = p.top()
	case 'h': // BINGET
		p.remember(p.uint(1))
	case 'j': // LONG_BINGET
		p.remember(p.uint(4))
	default:
		p.build(op)
	}
}

func (p *unpickler) remember(i int) {
	v, ok := p.memo[i]
	if !ok {
		p.fail("there is no memo %d", i)
	}
	p.push(v)
}

// build does the operations on containers and objects.
func (p *unpickler) build(op byte) {
	switch op {
	case '}': // EMPTY_DICT
		p.push(&pickleDict{})
	case ']': // EMPTY_LIST
		p.push(&pickleList{})
	case ')': // EMPTY_TUPLE
		p.push(pickleTuple{})
	case 't': // TUPLE
		p.push(pickleTuple(p.popMark()))
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		p.push(pickleTuple(p.popN(int(op - 0x84))))
	case 'a': // APPEND
		p.appendTo(p.popN(1))
	case 'e': // APPENDS
		p.appendTo(p.popMark())
	case 's': // SETITEM
		p.setItems(p.popN(2))
	case 'u': // SETITEMS
		p.setItems(p.popMark())
	case 'c': // GLOBAL
		module, name := string(p.line()), string(p.line())
		p.push(p.global(module, name))
	case 0x93: // STACK_GLOBAL
		names := p.popN(2)
		module, _ := names[0].([]byte)
		name, _ := names[1].([]byte)
		p.push(p.global(string(module), string(name)))
	case 'R': // REDUCE
		args := p.popN(2)
		p.reduce(args[0], args[1])
	case 'b': // BUILD
		args := p.popN(2)
		p.setState(args[0], args[1])
		p.push(args[0])
	default:
		p.fail("operation %#02x does not belong in it", op)
	}
}

func (p *unpickler) appendTo(items []any) {
	l, ok := p.top().(*pickleList)
	if !ok {
		p.fail("append to something else than a list")
	}
	l.items = append(l.items, items...)
}

func (p *unpickler) setItems(items []any) {
	d, ok := p.top().(*pickleDict)
	if !ok || len(items)%2 != 0 {
		p.fail("set items of something else than a dictionary")
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
}

// Names that a pickle of CIFAR refers to. _codecs.encode is how Python 3 writes bytes in protocol 2.
const (
	globalReconstruct = "numpy.core.multiarray._reconstruct"
	globalArray       = "numpy.ndarray"
	globalDtype       = "numpy.dtype"
	globalEncode      = "_codecs.encode"
)

func (p *unpickler) global(module, name string) pickleGlobal {
	full := strings.Replace(module, "numpy._core.", "numpy.core.", 1) + "." + name
	if !slices.Contains([]string{globalReconstruct, globalArray, globalDtype, globalEncode}, full) {
		p.fail("the name %q does not belong in it", full)
	}
	return pickleGlobal(full)
}

// reduce calls one of the known names.
func (p *unpickler) reduce(f, args any) {
	name, _ := f.(pickleGlobal)
	tuple, _ := args.(pickleTuple)
	switch {
	case name == globalReconstruct:
		p.push(&pickleArray{})
	case name == globalDtype && len(tuple) > 0:
		text, _ := tuple[0].([]byte)
		p.push(&pickleDtype{string(text)})
	case name == globalEncode && len(tuple) > 0: // text whose characters are the bytes
		text, _ := tuple[0].([]byte)
		p.push(latin1(text))
	default:
		p.fail("a call of something unknown")
	}
}

// latin1 turns UTF-8 into one byte for each character.
func latin1(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		out = append(out, byte(r))
	}
	return out
}

// setState gives an array its content: (version, shape, dtype, Fortran order, bytes).
func (p *unpickler) setState(object, state any) {
	array, ok := object.(*pickleArray)
	if !ok {
		return // of a dtype: byte order and the like, which bytes do not have
	}
	tuple, _ := state.(pickleTuple)
	if len(tuple) != 5 {
		p.fail("an array of unknown form")
	}
	dtype, _ := tuple[2].(*pickleDtype)
	content, _ := tuple[4].([]byte)
	if dtype == nil || dtype.name != "u1" || content == nil || tuple[3] != false {
		p.fail("an array of something else than bytes in C order")
	}
	array.data = content
}
