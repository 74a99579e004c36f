package arch

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// The parameters of torchvision's networks, as its documentation counts them (num_params of the weights on ImageNet).
var parameters = map[v1.Architecture]int64{
	v1.ResNet18: 11_689_512, v1.ResNet34: 21_797_672,
	v1.ResNet50: 25_557_032, v1.ResNet101: 44_549_160, v1.ResNet152: 60_192_808,
}

func network(t *testing.T, spec v1.ModelSpec) *Network {
	t.Helper()
	config, err := ConfigOf(spec, 224, 224, 3, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return New(config)
}

func TestParameters(t *testing.T) {
	for name, want := range parameters {
		if got := network(t, v1.ModelSpec{Architecture: name}).Parameters(); got != want {
			t.Errorf("%s has %d parameters, torchvision's %d", name, got, want)
		}
	}
}

// The stride of a bottleneck is that of its 3×3 convolution, and the projection in layer1 has none.
func TestBottleneck(t *testing.T) {
	blocks := network(t, v1.ModelSpec{Architecture: v1.ResNet50}).Blocks
	for i, want := range map[int][]Layer{
		0: {
			{"layer1.0.conv1", "layer1.0.bn1", 64, 64, 1, 1},
			{"layer1.0.conv2", "layer1.0.bn2", 64, 64, 3, 1},
			{"layer1.0.conv3", "layer1.0.bn3", 64, 256, 1, 1},
			{"layer1.0.downsample.0", "layer1.0.downsample.1", 64, 256, 1, 1},
		},
		3: {
			{"layer2.0.conv1", "layer2.0.bn1", 256, 128, 1, 1},
			{"layer2.0.conv2", "layer2.0.bn2", 128, 128, 3, 2},
			{"layer2.0.conv3", "layer2.0.bn3", 128, 512, 1, 1},
			{"layer2.0.downsample.0", "layer2.0.downsample.1", 256, 512, 1, 2},
		},
	} {
		if got := append(slices.Clone(blocks[i].Body), *blocks[i].Downsample); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// A state dict of another architecture is named, whatever its width, stem and normalisation are.
func TestCheckState(t *testing.T) {
	for is := range parameters {
		state := checkpoint.StateDict{}
		narrow := v1.ModelSpec{Architecture: is, WidthMultiplier: 0.125, Stem: v1.StemCIFAR, Normalization: v1.GroupNorm}
		for _, tensor := range network(t, narrow).Tensors() {
			state[tensor.Name] = checkpoint.Tensor{DType: tensor.DType, Shape: tensor.Shape}
		}
		for wanted := range parameters {
			want := "state dict: it is of the architecture " + string(is) + ", spec.model.architecture is " + string(wanted)
			if is == wanted {
				want = "state dict: conv1.weight is F32[8 3 3 3], the network needs F32[64 3 7 7]"
			}
			if err := network(t, v1.ModelSpec{Architecture: wanted}).CheckState(state); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		delete(state, "layer1.0.conv1.weight") // of none
		err := network(t, v1.ModelSpec{Architecture: v1.ResNet18}).CheckState(state)
		if err == nil || strings.Contains(err.Error(), "architecture") {
			t.Errorf("got %v", err)
		}
	}
}
