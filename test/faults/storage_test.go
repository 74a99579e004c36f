package faults

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// TestFlakyS3 lets one attempt train through what happens between it and S3.
func TestFlakyS3(t *testing.T) {
	away, latency := 30*time.Second, 2*time.Second
	if testing.Short() {
		away, latency = 5*time.Second, 50*time.Millisecond
	}
	var n int
	for name, rule := range map[string]func() func(r *http.Request) fault{
		"away during a checkpoint": func() func(r *http.Request) fault {
			var since time.Time
			return func(r *http.Request) fault {
				if since.IsZero() && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/model.safetensors") {
					since = time.Now()
				}
				return fault{reset: !since.IsZero() && time.Since(since) < away}
			}
		},
		"connections reset": func() func(r *http.Request) fault {
			return func(r *http.Request) fault { n++; return fault{reset: n%5 == 0, half: n%5 == 2 && r.ContentLength > 0} }
		},
		"answers lost": func() func(r *http.Request) fault {
			return func(r *http.Request) fault { n++; return fault{lose: r.Method == http.MethodPut && n%2 == 0} }
		},
		"every answer to a pointer lost": func() func(r *http.Request) fault {
			lost := map[string]bool{}
			return func(r *http.Request) fault {
				body := r.Header.Get("If-Match") + r.Header.Get("If-None-Match") + r.URL.Path
				first := r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".json") && !lost[body]
				lost[body] = true
				return fault{lose: first}
			}
		},
		"latency": func() func(r *http.Request) fault {
			return func(r *http.Request) fault { return fault{delay: latency} }
		},
		"clock refused": func() func(r *http.Request) fault {
			begin := time.Now()
			return func(r *http.Request) fault {
				if since := time.Since(begin); since > time.Second && since < 4*time.Second {
					return fault{refuse: "RequestTimeTooSkewed"}
				}
				return fault{}
			}
		},
	} {
		if testing.Short() && name != "away during a checkpoint" && name != "answers lost" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w, proxy := onMinIO(t)
			n = 0
			proxy.set(rule())
			w.run(contract.ExitDone)
			w.compare()
			w.clean()
		})
	}
}

func TestS3AwayDuringResume(t *testing.T) {
	away := 30 * time.Second
	if testing.Short() {
		away = 3 * time.Second
	}
	w, proxy := onMinIO(t)
	w.interrupt()
	proxy.set(func(*http.Request) fault { return fault{reset: true} })
	time.AfterFunc(away, func() { proxy.set(nil) })
	w.run(contract.ExitDone)
	w.compare()
	w.clean()
}

// TestS3AwayForGood: the attempt ends with 69 at the start, where it has nothing to train on with.
func TestS3AwayForGood(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes as long as the storage's patience")
	}
	w, proxy := onMinIO(t)
	w.interrupt()
	proxy.set(func(*http.Request) fault { return fault{reset: true} })
	w.run(contract.ExitStorage)
	proxy.set(nil)
	w.finish()
}

func TestNoRightToDelete(t *testing.T) {
	w, proxy := onMinIO(t)
	proxy.set(func(r *http.Request) fault {
		if r.Method == http.MethodDelete {
			return fault{refuse: "AccessDenied"}
		}
		return fault{}
	})
	p := w.run(contract.ExitDone)
	w.compare()
	if n := strings.Count(p.output.String(), "cannot be deleted"); n != 1 {
		t.Errorf("said %d times:\n%s", n, p.output)
	}
}

// interrupt runs the job until it has two checkpoints and kills it.
func (w *world) interrupt() {
	w.t.Helper()
	p := w.start()
	for deadline := time.Now().Add(2 * time.Minute); w.pointer().Step < 24; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("no second checkpoint:\n%s", p.output)
		}
	}
	p.Process.Signal(syscall.SIGKILL)
	p.wait()
	w.check()
}

// TestDamage breaks what lies in the storage between two attempts.
func TestDamage(t *testing.T) {
	change := func(key string, f func(data []byte) []byte) func(w *world) {
		return func(w *world) {
			key := strings.ReplaceAll(key, "LATEST", "checkpoints/"+w.pointer().Checkpoint)
			data, err := w.read(key)
			if err != nil {
				w.t.Fatal(err)
			}
			if data = f(data); data == nil {
				err = w.store.Delete(w.t.Context(), key)
			} else {
				err = store.WriteAll(w.t.Context(), w.store, key, data)
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	truncate := func(data []byte) []byte { return data[:len(data)/2] }
	flip := func(data []byte) []byte { data[len(data)-7] ^= 4; return data }
	remove := func([]byte) []byte { return nil }
	for name, damage := range map[string]func(w *world){
		"blob truncated":        change("LATEST/model.safetensors", truncate),
		"one bit flipped":       change("LATEST/state.safetensors", flip),
		"blob missing":          change("LATEST/state.safetensors", remove),
		"manifest missing":      change("LATEST/manifest.json", remove),
		"manifest truncated":    change("LATEST/manifest.json", truncate),
		"latest.json empty":     change("latest.json", func([]byte) []byte { return []byte{} }),
		"latest.json not JSON":  change("latest.json", func([]byte) []byte { return []byte("<html>") }),
		"latest.json missing":   change("latest.json", remove),
		"best.json not JSON":    change("best.json", func([]byte) []byte { return []byte("<html>") }),
		"times from the future": change("latest.json", future),
		"times from the past":   change("latest.json", past),
		"all checkpoints missing": func(w *world) {
			infos, err := w.store.List(w.t.Context(), contract.CheckpointsPrefix+"/")
			for _, info := range infos {
				if err == nil {
					err = w.store.Delete(w.t.Context(), info.Key)
				}
			}
			if err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		if testing.Short() && name != "one bit flipped" && name != "latest.json empty" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := onDir(t, t.TempDir())
			if !testing.Short() {
				w, _ = onMinIO(t)
			}
			w.interrupt()
			damage(w)
			w.latest = pointer{} // what was acknowledged was damaged by us
			w.run(contract.ExitDone)
			w.compare()
			w.clean()
		})
	}
}

func future(data []byte) []byte { return retime(data, "2099-01-01T00:00:00Z") }
func past(data []byte) []byte   { return retime(data, "1999-01-01T00:00:00Z") }

func retime(data []byte, to string) []byte {
	var p map[string]any
	if err := json.Unmarshal(data, &p); err != nil {
		panic(err)
	}
	p["time"] = to
	data, _ = json.Marshal(p)
	return data
}

// TestFullDisk fills the disk under a folder: training goes on, and the checkpoint is saved once there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	w := onDir(t, dir)
	w.interrupt()
	filler := filepath.Join(dir, "filler")
	err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 16<<20), 0o666)
	if err == nil {
		t.Fatal("the disk is not full")
	}
	if err := os.Truncate(filler, fileSize(t, filler)-64<<10); err != nil { // room for pointers and logs
		t.Fatal(err)
	}
	p := w.start()
	p.until("no space left on device")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != contract.ExitDone {
		t.Fatalf("exit code %d:\n%s", code, p.output)
	}
	w.check()
	w.compare()
	w.clean()
	if left, err := os.ReadDir(filepath.Join(dir, ".tmp")); len(left) > 0 {
		t.Errorf("half-written files are left: %v, %v", left, err)
	}
}

func fileSize(t *testing.T, path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
