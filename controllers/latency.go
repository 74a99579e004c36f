package controllers

import (
	"math"
	"sync"
	"time"
)

// writeLatency is the mean time that the API server lately took to write a status. It tells how busy that is: a policy
// that knows can wait with what is not urgent.
type writeLatency struct {
	mu   sync.Mutex
	mean time.Duration
	at   time.Time
}

const (
	// latencyWeight of a write in the mean.
	latencyWeight = 0.1
	// latencyHalfLife is when half of the mean is forgotten, if nothing is written.
	latencyHalfLife = 10 * time.Second
)

// wrote notes a write that has just ended.
func (l *writeLatency) wrote(took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mean := l.decayed(now)
	l.mean, l.at = mean+time.Duration(latencyWeight*float64(took-mean)), now
}

// get is the mean, less what is forgotten.
func (l *writeLatency) get(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decayed(now)
}

func (l *writeLatency) decayed(now time.Time) time.Duration {
	idle := max(0, now.Sub(l.at))
	return time.Duration(float64(l.mean) * math.Exp2(-idle.Seconds()/latencyHalfLife.Seconds()))
}
