package faults

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between the trainer and an S3 server.
type proxy struct {
	url string

	mu   sync.Mutex
	rule func(r *http.Request) fault
}

// fault is what happens to a request.
type fault struct {
	delay  time.Duration
	before func() // called when it arrives
	refuse string // the S3 error code of the answer, with status 403; the server never sees it
	reset  bool   // the connection breaks; the server never sees it
	half   bool   // the connection breaks in the middle of the body
	after  func() // called when the server has done it, before the answer
	lose   bool   // the server does it, the answer is lost
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host // which is signed
		},
		ModifyResponse: func(r *http.Response) error {
			f, _ := r.Request.Context().Value(faultKey{}).(fault)
			if f.after != nil {
				f.after()
			}
			if f.lose {
				return http.ErrAbortHandler
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // hang up
		ErrorLog:     quiet,
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := p.fault(r)
		time.Sleep(f.delay)
		if f.before != nil {
			f.before()
		}
		switch {
		case f.reset:
			panic(http.ErrAbortHandler)
		case f.half:
			io.CopyN(io.Discard, r.Body, r.ContentLength/2)
			panic(http.ErrAbortHandler)
		case f.refuse != "":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<Error><Code>"+f.refuse+"</Code><Message>"+f.refuse+"</Message></Error>")
			return
		}
		forward.ServeHTTP(w, r.WithContext(withFault(r.Context(), f)))
	}))
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.url = server.URL
	return p
}

func (p *proxy) fault(r *http.Request) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rule == nil {
		return fault{}
	}
	return p.rule(r)
}

// set makes the faults of the requests to come; nil makes none.
func (p *proxy) set(rule func(r *http.Request) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// nth makes a fault of the n-th request, from 1, of a method to a key that ends in suffix.
func nth(n int, method, suffix string, f fault) func(r *http.Request) fault {
	return func(r *http.Request) fault {
		if r.Method == method && strings.HasSuffix(r.URL.Path, suffix) {
			if n--; n == 0 {
				return f
			}
		}
		return fault{}
	}
}
