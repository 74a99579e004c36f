package controllers

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// newTestPuller asks once and not again.
func newTestPuller() *puller { return newPuller(clock.RealClock{}, time.Hour) }

// Pods that accept a connection and say nothing, or a byte now and then, hold up neither the others nor those who ask
// the puller for what it knows.
func TestPullerIsNotHeldUpByPodsThatHang(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts: the kernel does
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	drip := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}))
	defer drip.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"attempt":1,"epoch":1,"epochs":20}`))
	}))
	defer good.Close()

	p := newTestPuller()
	for i := range 200 {
		url := "http://" + silent.Addr().String()
		if i%2 == 1 {
			url = drip.URL
		}
		bad := types.NamespacedName{Name: strconv.Itoa(i)}
		p.follow(bad, run("u", 1), "net-1-0", url)
		defer p.forget(bad)
	}
	p.follow(team, run("u", 1), "net-1-0", good.URL)
	defer p.forget(team)
	expectChange(t, p) // of the good pod, and of no other
	for _, e := range p.snapshot() {
		if e.job != team && e.progress != nil {
			t.Errorf("took %+v for progress", e.progress)
		}
	}

	impatient := newTestPuller()
	impatient.http.Timeout = 50 * time.Millisecond
	for _, url := range []string{"http://" + silent.Addr().String(), drip.URL} {
		if got, err := impatient.pull(t.Context(), run("u", 1), url); err == nil {
			t.Errorf("%s: took %+v for progress", url, got)
		}
	}
}
