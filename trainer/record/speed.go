package record

import (
	"math"
	"time"
)

// speed measures how fast a run is.
type speed struct {
	runStart   time.Time
	runSteps   int64
	epochStart time.Time
	images     int // of the current epoch, in this attempt
	reported   time.Time
}

func (s *speed) startEpoch(now time.Time) {
	if s.runStart.IsZero() {
		s.runStart = now
	}
	s.epochStart, s.reported, s.images = now, now, 0
}

func (s *speed) step(images int) {
	s.runSteps++
	s.images += images
}

// reportEvery is the time between two lines of the log in an epoch.
const reportEvery = 10 * time.Second

// reportDue says that it is time for a line in the log.
func (s *speed) reportDue(now time.Time) bool { return now.Sub(s.reported) >= reportEvery }

// imagesPerSecond of the current epoch; 0 if nothing was measured.
func (s *speed) imagesPerSecond(now time.Time) float64 {
	if s.images == 0 {
		return 0
	}
	return float64(s.images) / now.Sub(s.epochStart).Seconds()
}

// eta is how long the remaining steps take at the pace so far, evaluations included.
func (s *speed) eta(now time.Time, remaining int64) time.Duration {
	return time.Duration(float64(now.Sub(s.runStart)) / float64(max(1, s.runSteps)) * float64(remaining))
}

// round keeps the log readable.
func round(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}
