package resnet

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/resnet/arch"
)

// TestFirstNonFiniteIsOfOneProcess: it is looked for without the others, which need not look for it.
func TestFirstNonFiniteIsOfOneProcess(t *testing.T) {
	for layer, bottleneck := range map[string]bool{"layer1.0.conv2": false, "layer2.0.conv3": true} {
		t.Run(layer, func(t *testing.T) {
			config := arch.Config{Blocks: []int{1, 1}, Widths: []int64{4, 8}, Bottleneck: bottleneck, Activation: v1.ReLU,
				Channels: 1, Classes: 10}
			net, err := New(config, 0, libtorch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			sums := 0
			net.Synchronize(libtorch.NewProcessGroup(func([]float64) error { sums++; return nil }))
			forward := func(use func(s *libtorch.Scope, images libtorch.Tensor)) {
				err := libtorch.Do(func(s *libtorch.Scope) {
					use(s, s.Images(make([]byte, 2*8*8), 2, 8, 8, []float32{0}, []float32{1}, libtorch.CPU))
				})
				if err != nil {
					t.Error(err)
				}
			}
			for _, e := range net.entries {
				if e.Name == layer+".weight" {
					err = e.setBytes(bytes.Repeat([]byte{0xff}, 4*int(e.Elements()))) // NaN
				}
			}
			forward(func(s *libtorch.Scope, images libtorch.Tensor) {
				if found := net.FirstNonFinite(s, images, Train); found != layer || sums != 0 || err != nil {
					t.Errorf("%q is not finite, after %d sums: %v", found, sums, err)
				}
			})
			forward(func(s *libtorch.Scope, images libtorch.Tensor) { net.Forward(s, images, Train) })
			if want := len(net.layers()); sums != want || !net.Synchronized() {
				t.Errorf("then there were %d sums, not %d", sums, want)
			}
		})
	}
}

func TestLoadStateDictNamesTheKey(t *testing.T) {
	net, err := New(arch.Config{Blocks: []int{1, 1}, Widths: []int64{4, 8}, Activation: v1.ReLU, Channels: 1, Classes: 10}, 0, libtorch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	good, err := net.StateDict()
	if err != nil {
		t.Fatal(err)
	}
	const weight, counter = "layer2.0.downsample.0.weight", "bn1.num_batches_tracked"
	for name, test := range map[string]struct {
		break_ func(d checkpoint.StateDict)
		want   string
	}{
		"missing":    {func(d checkpoint.StateDict) { delete(d, weight) }, "missing key " + weight},
		"unexpected": {func(d checkpoint.StateDict) { d["layer9.weight"] = d[weight] }, "unexpected key layer9.weight"},
		"shape": {func(d checkpoint.StateDict) {
			w := d[weight]
			w.Shape = []int64{8, 4, 3, 3}
			d[weight] = w
		}, weight + " is F32[8 4 3 3], the network needs F32[8 4 1 1]"},
		"dtype": {func(d checkpoint.StateDict) {
			w := d[weight]
			w.DType = "F16"
			d[weight] = w
		}, weight + " is F16[8 4 1 1], the network needs F32[8 4 1 1]"},
		"data": {func(d checkpoint.StateDict) {
			w := d[weight]
			w.Data = w.Data[4:]
			d[weight] = w
		}, weight},
		"counter": {func(d checkpoint.StateDict) {
			w := d[counter]
			w.Data = nil
			d[counter] = w
		}, counter},
	} {
		t.Run(name, func(t *testing.T) {
			d := maps.Clone(good)
			test.break_(d)
			if err := net.LoadStateDict(d); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if err := net.LoadStateDict(good); err != nil {
		t.Error(err)
	}
}
