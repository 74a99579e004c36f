package pickle

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// everything takes any name, and copies what it is given, as a reader may.
var everything = &Reader{
	Known: func(Global) error { return nil },
	Call: func(_ Global, args Tuple) (any, error) {
		if len(args) > 0 {
			if text, ok := Bytes(args[0]); ok {
				return bytes.Clone(text), nil
			}
			if numbers, ok := args[0].(Tuple); ok {
				return append(Tuple{}, numbers...), nil
			}
		}
		return &Dict{}, nil
	},
	Build:      func(_, state any) error { _, _ = Bytes(state); return nil },
	Persistent: func(id Tuple) (any, error) { return append(Tuple{}, id...), nil },
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		pickle string
		want   any
	}{
		"integers":        {"\x80\x02(K\x07M\x01\x02J\xff\xff\xff\xff\x8a\x02\x00\x80\x8a\x00t.", Tuple{int64(7), int64(513), int64(-1), int64(-32768), int64(0)}},
		"others":          {"(N\x88\x89G?\xf8\x00\x00\x00\x00\x00\x00t.", Tuple{nil, true, false, 1.5}},
		"text":            {"(U\x01aX\x01\x00\x00\x00b\x8c\x01c\x8d\x01\x00\x00\x00\x00\x00\x00\x00dt.", Tuple{"a", "b", "c", "d"}},
		"bytes":           {"(T\x01\x00\x00\x00aB\x01\x00\x00\x00bC\x01c\x8e\x01\x00\x00\x00\x00\x00\x00\x00dt.", Tuple{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}},
		"list":            {"](K\x01K\x02eK\x03a.", &List{[]any{int64(1), int64(2), int64(3)}}},
		"dict":            {"}(U\x01aK\x01uU\x01bK\x02s.", &Dict{[]any{"a", "b"}, []any{int64(1), int64(2)}}},
		"tuple of tuples": {")\x85N\x86.", Tuple{Tuple{Tuple{}}, nil}},
		"memo":            {"K\x01q\x05\x94h\x05j\x01\x00\x00\x00\x87.", Tuple{int64(1), int64(1), int64(1)}},
		"class":           {"cos\nsystem\n.", Global("os.system")},
		"class, 4":        {"U\x02osU\x06system\x93.", Global("os.system")},
		"persistent":      {"U\x01k\x85Q.", Tuple{"k"}},
		"state":           {"]q\x00}b.", &List{}},
		"large integer":   {"\x8a\x09123456789.", Ignored{}},
	} {
		got, err := everything.Read([]byte(test.pickle))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %#v, %v", name, got, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	strict := &Reader{Known: func(g Global) error { return errors.New("not " + string(g)) }}
	for pickle, want := range map[string]string{
		"":                                     "cut off",
		"N":                                    "cut off",
		"cos\nsystem":                          "cut off",
		"cos\nsystem\n.":                       "not os.system",
		"X\xff\xff\xff\xff":                    "cut off",
		"\x8e\xff\xff\xff\xff\xff\xff\xff\xff": "cut off",
		".":                                    "its stack is empty",
		"Na.":                                  "its stack is empty",
		"Nt.":                                  "a mark is missing",
		"h\x01.":                               "nothing was stored at 1",
		"NNa.":                                 "adds items to something that holds none",
		"}(Nu.":                                "adds items to something that holds none",
		"NNR.":                                 "calls something that is no function",
		"NN\x93.":                              "a class has no name",
		"NQ.":                                  "refers to something outside of it",
		"I1\n.":                                "the instruction 0x49",
	} {
		if v, err := strict.Read([]byte(pickle)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %s", pickle, v, err, want)
		}
	}
}

// Memory stays within the budget, all that was ever allocated counted: whatever the pickle repeats, and however large
// what it repeats.
func TestBudget(t *testing.T) {
	large := "X\x00\x00\x01\x00" + strings.Repeat("x", 1<<16)
	for name, test := range map[string]struct{ begin, repeat string }{
		"nothing":           {"", "N"},
		"dicts":             {"", "}"},
		"lists":             {"", "]"},
		"tuples":            {"", ")"},
		"tuples in tuples":  {")", "\x85"},
		"lists of lists":    {"]q\x00", "h\x00a"},
		"marks":             {"", "("},
		"integers":          {"", "M\x01\x02"},
		"floats":            {"", "G12345678"},
		"short strings":     {"", "U\x01a"},
		"memo":              {"N", "\x94"},
		"names":             {"", "ca\nb\n"},
		"copied text":       {"cf\n\nq\x00" + large + "\x85q\x01", "h\x00h\x01R"},
		"copied numbers":    {"cf\n\nq\x00(" + strings.Repeat("N", 1<<16) + "t\x85q\x01", "h\x00h\x01R"},
		"states":            {"]" + large + "\x85q\x01", "h\x01b"},
		"persistent":        {"(" + strings.Repeat("N", 1<<16) + "tq\x01", "h\x01Q"},
		"tuple and pop":     {"(" + strings.Repeat("N", 1<<16) + "t", "\x85"},
		"growing dict":      {"}", "NNs"},
		"names from memory": {large + "q\x00", "h\x00h\x00\x93"},
	} {
		data := []byte(test.begin + strings.Repeat(test.repeat, 1<<18/len(test.repeat)) + ".")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := everything.Read(data)
		runtime.ReadMemStats(&after)
		took := int(after.TotalAlloc - before.TotalAlloc)
		t.Logf("%s: %d KiB took %d KiB: %v", name, len(data)>>10, took>>10, err)
		if budget := Budget(len(data)); took > budget {
			t.Errorf("%s: took %d KiB for %d KiB, more than %d KiB", name, took>>10, len(data)>>10, budget>>10)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x80\x02(K\x07M\x01\x02t."))
	f.Add([]byte("]q\x00h\x00a."))
	f.Add([]byte("cf\n\nq\x00U\x01a\x85RNb."))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := everything.Read(data); err != nil && err.Error() == "" {
			t.Error(fmt.Sprint(data))
		}
	})
}
