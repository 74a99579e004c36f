package checkpoint

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSafetensorsRoundTrip(t *testing.T) {
	want := StateDict{
		"conv1.weight":            {"F32", []int64{2, 1}, make([]byte, 8)},
		"bn1.num_batches_tracked": {"I64", nil, []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		"rng":                     {"U8", []int64{3}, []byte{1, 2, 3}},
		"empty":                   {"F32", []int64{0, 4}, nil},
	}
	data, err := EncodeSafetensors(want, map[string]string{"format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"bn1.num_batches_tracked":{"dtype":"I64","shape":[],`) {
		t.Errorf("a scalar must have the shape []: %s", data)
	}
	got, metadata, err := DecodeSafetensors(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("tensors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"format": "pt"}, metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	again, err := EncodeSafetensors(got, metadata)
	if err != nil || string(again) != string(data) {
		t.Errorf("the same tensors give other bytes (%v)", err)
	}
}

func TestStreamReadsAsTheWhole(t *testing.T) {
	s, err := encode(StateDict{"a": {"U8", []int64{5}, []byte("abcde")}, "b": {"U8", []int64{0}, nil}, "c": {"U8", []int64{3}, []byte("xyz")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(s, bytes.Join(s.parts, nil)); err != nil {
		t.Error(err)
	}
}

func TestEncodeSafetensorsRefusesWrongSizes(t *testing.T) {
	for name, tensor := range map[string]Tensor{
		"too short":     {"F32", []int64{2}, make([]byte, 4)},
		"unknown dtype": {"C64", []int64{1}, make([]byte, 8)},
	} {
		if _, err := EncodeSafetensors(StateDict{"w": tensor}, nil); err == nil || !strings.Contains(err.Error(), "tensor w") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeSafetensors(f *testing.F) {
	seed, err := EncodeSafetensors(snapshotOf(Meta{Step: 3}).Model, map[string]string{"format": "pt"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Add([]byte("\x48\x00\x00\x00\x00\x00\x00\x00" + `{"w":{"dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, metadata, err := DecodeSafetensors(data)
		if err != nil {
			return
		}
		if _, err := EncodeSafetensors(d, metadata); err != nil {
			t.Errorf("decoded but cannot be encoded: %v", err)
		}
	})
}
