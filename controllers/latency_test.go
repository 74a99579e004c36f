package controllers

import (
	"testing"
	"time"

	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

func TestWriteLatency(t *testing.T) {
	var l writeLatency
	now := Now.Time
	if got := l.get(now); got != 0 {
		t.Errorf("%s before the first write, want 0", got)
	}
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		l.wrote(200*time.Millisecond, now)
	}
	if got := l.get(now); got < 180*time.Millisecond || got > 200*time.Millisecond {
		t.Errorf("%s after a second of writes of 200 ms each", got)
	}
	if got := l.get(now.Add(2 * time.Minute)); got > time.Millisecond {
		t.Errorf("%s after two minutes without a write: it should be forgotten", got)
	}
}
