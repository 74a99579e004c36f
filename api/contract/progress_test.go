package contract

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTerminationFitsTheKubelet(t *testing.T) {
	for name, message := range map[string]string{
		"short":           "spec.storage.uri: no such bucket",
		"long":            strings.Repeat("x", 10_000),
		"many bytes each": strings.Repeat("ö✗", 5_000),
		"escaped":         strings.Repeat("\"\n<", 3_000),
	} {
		t.Run(name, func(t *testing.T) {
			b := Termination{ExitCode: ExitConfig, Message: message, Progress: &Progress{Epoch: 3}}.Marshal()
			if len(b) > maxTermination {
				t.Fatalf("%d bytes, want at most %d", len(b), maxTermination)
			}
			got, ok := ParseTermination(string(b))
			if !ok || got.ExitCode != ExitConfig || got.Progress.Epoch != 3 {
				t.Fatalf("read back %+v", got)
			}
			if !utf8.ValidString(got.Message) || got.Message == "" || !strings.HasPrefix(message, strings.TrimSuffix(got.Message, "…")) {
				t.Errorf("message is %.40q…", got.Message)
			}
		})
	}
}

func TestTerminationSurvivesNaN(t *testing.T) {
	nan := math.NaN()
	got, ok := ParseTermination(string(Termination{ExitCode: ExitDiverged, Message: "m", Progress: &Progress{Loss: &nan}}.Marshal()))
	if !ok || got.ExitCode != ExitDiverged || got.Message != "m" {
		t.Errorf("read back %+v", got)
	}
}

func TestForeignMessagesAreNotTerminations(t *testing.T) {
	for _, s := range []string{"", "panic: oh no", "[1]"} {
		if _, ok := ParseTermination(s); ok {
			t.Errorf("%q was taken for a termination", s)
		}
	}
}

func TestCheckpointNames(t *testing.T) {
	if epoch, step, ok := ParseCheckpointName(CheckpointName(12, 4800, 2)); epoch != 12 || step != 4800 || !ok {
		t.Errorf("epoch %d, step %d, %v", epoch, step, ok)
	}
	for _, name := range []string{"", "latest", "00012-00004800", "00012-00004800-a2/", "9999999999-1-a1", "1-9999999999999999999-a1"} {
		if _, _, ok := ParseCheckpointName(name); ok {
			t.Errorf("%q was taken for the name of a checkpoint", name)
		}
	}
}
