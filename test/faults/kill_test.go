package faults

import (
	"math/rand/v2"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// TestKilledAtRandomMoments kills a job again and again, on a folder and on S3. The moments lie between the start of the
// process and, as measured, a little after its end.
func TestKilledAtRandomMoments(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 4
	}
	for name, open := range map[string]func(t *testing.T) *world{
		"folder": func(t *testing.T) *world { return onDir(t, t.TempDir()) },
		"S3":     func(t *testing.T) *world { w, _ := onMinIO(t); return w },
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			w := open(t)
			whole := open(t)
			whole.run(contract.ExitDone)
			seed := uint64(begin.UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			for range kills {
				p := w.start()
				time.Sleep(time.Duration(random.Float64() * float64(1500*time.Millisecond)))
				p.Process.Signal(syscall.SIGKILL)
				p.wait()
				w.check()
			}
			w.finish()
		})
	}
}

// TestKilledDuringAnUpload kills the trainer when a request of its second checkpoint has arrived at the server, in the
// middle, and when the server has done it but not answered.
func TestKilledDuringAnUpload(t *testing.T) {
	for _, at := range []struct {
		method, key string
		n           int
	}{
		{http.MethodPut, "/model.safetensors", 2}, {http.MethodPut, "/state.safetensors", 2}, {http.MethodPut, "/manifest.json", 2},
		{http.MethodPut, "/latest.json", 3}, // the first is the claim
		{http.MethodPut, "/best.json", 1}, {http.MethodDelete, "/manifest.json", 1}, {http.MethodDelete, "/model.safetensors", 1},
	} {
		for _, when := range []string{"before", "half", "after"} {
			if testing.Short() && (when != "after" || at.key != "/latest.json") || when == "half" && at.method == http.MethodDelete {
				continue
			}
			t.Run(at.method+at.key+" "+when, func(t *testing.T) {
				w, proxy := onMinIO(t)
				killed := make(chan struct{})
				var p *process
				kill := func() { p.Process.Kill(); close(killed) }
				f := fault{before: kill, reset: true}
				switch when {
				case "half":
					f = fault{before: nil, half: true, after: nil}
					f.before = func() { time.AfterFunc(20*time.Millisecond, kill) }
				case "after":
					f = fault{after: kill, lose: true}
				}
				started := make(chan struct{})
				rule := nth(at.n, at.method, at.key, f)
				proxy.set(func(r *http.Request) fault { <-started; return rule(r) })
				p = w.start()
				close(started)
				<-killed
				p.wait()
				proxy.set(nil)
				w.check()
				w.finish()
			})
		}
	}
}

// TestStopped sends SIGTERM at random moments: every step that was done is saved, inside of an epoch too.
func TestStopped(t *testing.T) {
	w, _ := onMinIO(t)
	stops := 6
	if testing.Short() {
		stops = 2
	}
	for range stops {
		p := w.start()
		p.until("msg=training")
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		begin := time.Now()
		p.Process.Signal(syscall.SIGTERM)
		code := p.wait()
		t.Logf("ended with %d, %s after SIGTERM, at step %d", code, time.Since(begin).Round(time.Millisecond), w.pointer().Step)
		if code == contract.ExitDone {
			w.compare()
			return
		}
		if code != contract.ExitStopped {
			t.Fatalf("exit code %d:\n%s", code, p.output)
		}
		w.check()
	}
	w.finish()
}

// TestZombie stops a trainer in its tracks, lets the next attempt do the work, and wakes it up again.
func TestZombie(t *testing.T) {
	for name, epoch := range map[string]string{"at the start": "msg=training", "after an epoch": "epoch 1/4 done"} {
		t.Run(name, func(t *testing.T) {
			w, _ := onMinIO(t)
			zombie := w.start()
			zombie.until(epoch)
			zombie.Process.Signal(syscall.SIGSTOP)
			w.check()
			w.finish()
			zombie.Process.Signal(syscall.SIGCONT)
			if code := zombie.wait(); code != contract.ExitFenced {
				t.Errorf("the zombie ended with %d:\n%s", code, zombie.output)
			}
			w.check()
			w.compare()
		})
	}
}

// TestTwoAttemptsAtOnce lets two attempts race from the start: the newer one wins.
func TestTwoAttemptsAtOnce(t *testing.T) {
	w, _ := onMinIO(t)
	older, newer := w.start(), w.start()
	if code := newer.wait(); code != contract.ExitDone {
		t.Errorf("the newer attempt ended with %d:\n%s", code, newer.output)
	}
	// The older one may have come to its end before the newer one began.
	if code := older.wait(); code != contract.ExitFenced && code != contract.ExitDone {
		t.Errorf("the older attempt ended with %d:\n%s", code, older.output)
	}
	w.check()
	w.compare()
}
