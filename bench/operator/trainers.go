package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// trainers answers for the trainer in every pod: the address that is asked says which. A pod begins when it is first
// asked, and does an epoch in every period.
type trainers struct {
	period time.Duration
	epochs int32

	mu    sync.Mutex
	begun map[string]time.Time
	asked int
}

// listen serves until the program ends. All of 127.0.0.0/8 is this machine, so one listener hears every pod.
func (t *trainers) listen() error {
	l, err := net.Listen("tcp4", fmt.Sprintf(":%d", contract.Port))
	for range 60 { // tests on this machine may use an address of it for a moment
		if err == nil {
			break
		}
		time.Sleep(time.Second)
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", contract.Port))
	}
	if err != nil {
		return fmt.Errorf("play the trainers: %w", err)
	}
	go func() {
		err := http.Serve(l, t)
		if !errors.Is(err, net.ErrClosed) {
			panic(err)
		}
	}()
	return nil
}

func (t *trainers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() || r.URL.Path != contract.ProgressPath {
		http.NotFound(w, r)
		return
	}
	begun := t.beginning(addr.IP.String())
	done := min(float64(time.Since(begun))/float64(t.period), float64(t.epochs))
	epoch, left := int32(done), (float64(t.epochs)-done)*t.period.Seconds()
	loss, accuracy := 2/(done+1), 1-1/float64(epoch+2) // the loss moves inside of an epoch too
	_ = json.NewEncoder(w).Encode(contract.Progress{
		Attempt: 1, Phase: contract.PhaseTraining, Epoch: epoch, Epochs: t.epochs,
		Step: time.Since(begun).Milliseconds(), Steps: int64(t.epochs) * t.period.Milliseconds(),
		Loss: &loss, Accuracy: &accuracy, BestAccuracy: &accuracy, ImagesPerSecond: 1000, ETASeconds: left,
		StartTime: begun, FirstStepTime: &begun,
	})
}

func (t *trainers) beginning(ip string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	if _, ok := t.begun[ip]; !ok {
		t.begun[ip] = time.Now()
	}
	return t.begun[ip]
}

// done is when the pod of that address finished an epoch.
func (t *trainers) done(ip string, epoch int32) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	begun, ok := t.begun[ip]
	return begun.Add(time.Duration(epoch) * t.period), ok
}

// reset forgets all pods: the next cluster gives their addresses to others.
func (t *trainers) reset(period time.Duration, epochs int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.period, t.epochs, t.begun, t.asked = period, epochs, map[string]time.Time{}, 0
}
