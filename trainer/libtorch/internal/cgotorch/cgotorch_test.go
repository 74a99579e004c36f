package cgotorch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCopyIsUnmodified compares the C++ sources with those of the gotorch version in go.mod.
func TestCopyIsUnmodified(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/wangkuiyi/gotorch").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(dir)), "cgotorch")
	for _, pattern := range []string{"*.cc", "*.h"} {
		files, err := filepath.Glob(filepath.Join(original, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s in %s: %v", pattern, original, err)
		}
		for _, file := range files {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("cgotorch", filepath.Base(file)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not the one of %s (%v)", filepath.Base(file), original, err)
			}
		}
	}
}
