package arch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

func TestConfig(t *testing.T) {
	widths := []int64{64, 128, 256, 512}
	for name, test := range map[string]struct {
		spec v1.ModelSpec
		want Config
	}{
		"defaults": {
			v1.ModelSpec{},
			Config{Blocks: []int{2, 2, 2, 2}, Widths: widths, Activation: v1.ReLU, Channels: 3, Classes: 10},
		},
		"everything": {
			v1.ModelSpec{Architecture: v1.ResNet34, Stem: v1.StemImageNet, Normalization: v1.GroupNorm, Activation: v1.SiLU,
				ZeroInitResidual: true, NumClasses: new(int32(12)), InputChannels: new(int32(1)), NormalizationGroups: new(int32(64))},
			Config{Blocks: []int{3, 4, 6, 3}, Widths: widths, ImageNetStem: true, Groups: 64, Activation: v1.SiLU,
				ZeroInitResidual: true, Channels: 1, Classes: 12},
		},
		"widths are multiples of 8": {
			v1.ModelSpec{WidthMultiplier: 0.3, Normalization: v1.LayerNorm}, // 19.2, 38.4, 76.8, 153.6
			Config{Blocks: []int{2, 2, 2, 2}, Widths: []int64{16, 40, 80, 152}, Groups: 1, Activation: v1.ReLU, Channels: 3, Classes: 10},
		},
		"bottlenecks": {
			v1.ModelSpec{Architecture: v1.ResNet101, WidthMultiplier: 0.125},
			Config{Blocks: []int{3, 4, 23, 3}, Widths: []int64{8, 16, 32, 64}, Bottleneck: true, Activation: v1.ReLU, Channels: 3, Classes: 10},
		},
		"a power of two of groups that divides": {
			v1.ModelSpec{WidthMultiplier: 0.3, Normalization: v1.GroupNorm},
			Config{Blocks: []int{2, 2, 2, 2}, Widths: []int64{16, 40, 80, 152}, Groups: 8, Activation: v1.ReLU, Channels: 3, Classes: 10},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ConfigOf(test.spec, 32, 32, 3, 10)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for name, test := range map[string]struct {
		spec v1.ModelSpec
		size int
		want string
	}{
		"classes": {
			v1.ModelSpec{NumClasses: new(int32(9))}, 32,
			"spec.model.numClasses is 9, but the data has 10 classes: set it to 10 or more, or leave it out",
		},
		"groups": {
			v1.ModelSpec{Normalization: v1.GroupNorm, NormalizationGroups: new(int32(48))}, 32,
			"spec.model.normalizationGroups is 48, which does not divide the channels of every stage, [64 128 256 512]",
		},
		"size": {
			v1.ModelSpec{Stem: v1.StemImageNet}, 28,
			"spec.model.stem ImageNet needs images of at least 32×32 pixels, but those of the data are 28×28",
		},
		"tiny": {
			v1.ModelSpec{}, 7,
			"spec.model.stem CIFAR needs images of at least 8×8 pixels, but those of the data are 7×7",
		},
		"architecture": {v1.ModelSpec{Architecture: "ResNet999"}, 32, `spec.model.architecture: "ResNet999" is not known`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ConfigOf(test.spec, test.size, test.size, 3, 10)
			if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), test.want) {
				t.Errorf("exit code %d: %v", exit.Code(err), err)
			}
		})
	}
}

func TestStemOf(t *testing.T) {
	for _, test := range []struct {
		spec          v1.Stem
		height, width int
		want          v1.Stem
	}{
		{"", 32, 32, v1.StemCIFAR},
		{"", 64, 64, v1.StemCIFAR},
		{"", 64, 96, v1.StemCIFAR},
		{"", 65, 65, v1.StemImageNet},
		{"", 224, 224, v1.StemImageNet},
		{v1.StemCIFAR, 224, 224, v1.StemCIFAR},
		{v1.StemImageNet, 32, 32, v1.StemImageNet},
	} {
		config, err := ConfigOf(v1.ModelSpec{Stem: test.spec}, test.height, test.width, 3, 10)
		if got := config.ImageNetStem; err != nil || got != (test.want == v1.StemImageNet) {
			t.Errorf("stem %q for %d×%d: ImageNet is %v, %v", test.spec, test.height, test.width, got, err)
		}
	}
}
