package group

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// TestLocalGPUs: each process sees a GPU of those that its machine's first one sees.
func TestLocalGPUs(t *testing.T) {
	const unset = "-"
	for _, test := range []struct {
		visible string
		gpus    int
		want    []string // nil: an error
	}{
		{unset, 2, []string{"0", "1"}},
		{"5, 2,7", 3, []string{"5", "2", "7"}},
		{"GPU-8a,MIG-3b", 2, []string{"GPU-8a", "MIG-3b"}},
		{"0", 2, nil}, {"", 2, nil}, {unset, 4, nil},
	} {
		t.Setenv(visible, test.visible)
		if test.visible == unset {
			os.Unsetenv(visible)
		}
		got, err := localGPUs(test.gpus, 3)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], visible+"=")
		}
		if bad := test.want == nil; !slices.Equal(got, test.want) || bad != (exit.Code(err) == contract.ExitConfig) {
			t.Errorf("%d of %q: %q, %v", test.gpus, test.visible, got, err)
		}
	}
}
