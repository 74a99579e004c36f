package controllers

import (
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// serverClock tells the time of the API server. What is compared with it, when a pod will be killed or when a Job was
// created, was written by that clock or others that follow it; the manager's own may be minutes off, and a pod that
// still saves its checkpoint would be taken for lost. Each answer of the API server says what time it is there.
type serverClock struct {
	own    clock.PassiveClock
	offset atomic.Int64 // nanoseconds to add to the own clock
}

const (
	// tolerated is an offset that is none: a Date has whole seconds, and an answer takes time.
	tolerated = 2 * time.Second
	// promptly is how long an answer may take to tell the time.
	promptly = time.Second
)

func (c *serverClock) Now() time.Time { return c.own.Now().Add(time.Duration(c.offset.Load())) }

func (c *serverClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// wrap reads the time off the answers to all requests.
func (c *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		asked := c.own.Now()
		resp, err := next.RoundTrip(req)
		if err == nil {
			c.learn(resp.Header.Get("Date"), asked, c.own.Now())
		}
		return resp, err
	})
}

func (c *serverClock) learn(date string, asked, answered time.Time) {
	there, err := http.ParseTime(date)
	if err != nil || answered.Sub(asked) > promptly {
		return
	}
	offset := there.Add(time.Second / 2).Sub(asked.Add(answered.Sub(asked) / 2))
	if offset.Abs() <= tolerated {
		offset = 0
	}
	c.offset.Store(int64(offset))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
