package trainer

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// compressed lets gradients travel as bfloat16.
func compressed(s *spec) { s.Distributed = &v1.DistributedSpec{Compression: v1.CompressionBF16} }

// TestCompressed: gradients that travel as bfloat16 give nearly the losses of others, where activations are smooth
// (TestSynchronized); and the same model, interrupted or not.
func TestCompressed(t *testing.T) {
	for n, change := range map[int]func(s *spec){
		2: compressed,
		3: func(s *spec) { compressed(s); s.Distributed.Normalization = v1.Synchronized },
	} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			smooth := func(s *spec) { change(s); s.Model.Activation = v1.SiLU }
			got := stepLosses(t, n, smooth)
			want := stepLosses(t, n, smooth, func(s *spec) { s.Distributed.Compression = v1.CompressionNone })
			var worst float64
			for i := range want {
				worst = max(worst, math.Abs(got[i]-want[i])/want[i])
			}
			t.Logf("at most %.1e, a loss from %.3f to %.3f", worst, want[0], want[len(want)-2])
			if len(got) != len(want) || !(worst < 1e-3) || worst == 0 {
				t.Errorf("of %d losses one differs by %.1e from those of gradients in float32", len(got), worst)
			}

			whole, parts := t.TempDir(), t.TempDir()
			if code, text := runGroup(t, n, member{Job: groupJob(whole, change)}); code != contract.ExitDone {
				t.Fatal(code, text)
			}
			for _, m := range []member{{Rank: n - 1, Step: 5, Action: "kill"}, {}} {
				m.Job = groupJob(parts, change)
				code, text := runGroup(t, n, m)
				checkEnd(t, m, n, code, text)
			}
			if !bytes.Equal(read(t, whole, contract.ModelKey), read(t, parts, contract.ModelKey)) {
				t.Error("another model than without interruption")
			}
			none := func(s *spec) { s.Distributed.Compression = v1.CompressionNone }
			code, text := runGroup(t, n, member{Job: groupJob(parts, change, none)})
			const said = `spec.distributed.compression was "BF16" and is now "None"`
			if code != contract.ExitConfig || !strings.Contains(text, said) {
				t.Errorf("went on without compression: %d, %s", code, text)
			}
		})
	}
}
