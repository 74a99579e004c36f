package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

func TestDirKeepsTheOldFileWhenAWriteFails(t *testing.T) {
	root := t.TempDir()
	st := mustOpen(t, "file://"+root)
	if _, err := st.Put(t.Context(), "f", strings.NewReader("old"), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Put(t.Context(), "f", strings.NewReader("short"), 9); err == nil || !strings.Contains(err.Error(), "5 of 9 bytes") {
		t.Errorf("a short write: %v", err)
	}
	if data, _, err := ReadAll(t.Context(), st, "f"); string(data) != "old" || err != nil {
		t.Errorf("got %q, %v", data, err)
	}
	if left, _ := os.ReadDir(filepath.Join(root, ".tmp")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestDirSweepsOldLeftovers(t *testing.T) {
	root := t.TempDir()
	tmp := filepath.Join(root, ".tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": time.Hour, "new": 0, "being written": time.Hour} {
		path, at := filepath.Join(tmp, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o666), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := os.Open(filepath.Join(tmp, "being written"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := syscall.Flock(int(writer.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	st := mustOpen(t, "file://"+root)
	if left, err := os.ReadDir(tmp); len(left) != 3 || err != nil {
		t.Errorf("Open, which may be for reading only, left %v, %v", left, err)
	}
	if err := Probe(t.Context(), Sub(st, "default/job")); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(tmp)
	if len(left) != 2 || left[0].Name() != "being written" || left[1].Name() != "new" {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestDirDeletesEmptyFolders(t *testing.T) {
	root := t.TempDir()
	st := mustOpen(t, "file://"+root)
	if _, err := st.Put(t.Context(), "a/b/c", strings.NewReader(""), 0); err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "a")); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestDirWaitsForTheLockOnlyAsLongAsTheContext(t *testing.T) {
	root := t.TempDir()
	st := mustOpen(t, "file://"+root)
	unlock, err := lock(t.Context(), filepath.Join(root, "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := st.PutIf(ctx, "latest.json", nil, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while locked: %v", err)
	}
	unlock()
	if _, err := st.PutIf(t.Context(), "latest.json", nil, ""); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestDirErrorsSayWhatToDo(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	st := mustOpen(t, "file://"+root+"/file")
	_, err := st.Put(t.Context(), "k", strings.NewReader(""), 0)
	if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), st.URI("k")) {
		t.Errorf("below a file: %v", err)
	}
	if os.Geteuid() == 0 {
		return // root may write everywhere but there
	}
	st = mustOpen(t, "file:///proc/none")
	if _, err = st.Put(t.Context(), "k", strings.NewReader(""), 0); exit.Code(err) != contract.ExitConfig {
		t.Errorf("no permission: %v", err)
	}
}
