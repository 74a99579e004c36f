package controllers

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestWrongFlagsAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no workers":        {func(o *Options) { o.Concurrency = 0 }, "--max-concurrent-reconciles"},
		"negative rate":     {func(o *Options) { o.QPS = -5 }, "--kube-api-qps"},
		"rate, no burst":    {func(o *Options) { o.QPS = 5 }, "--kube-api-burst"},
		"bad namespace":     {func(o *Options) { o.Namespace = "Team A" }, `--namespace: "Team A"`},
		"two namespaces":    {func(o *Options) { o.Namespace = "a,b" }, "--namespace: is \"a,b\", and must be one namespace"},
		"page, no address":  {func(o *Options) { o.Page = true }, "--page: is served at --metrics-bind-address"},
		"pprof for all":     {func(o *Options) { o.PprofAddr = ":6060" }, "--pprof-bind-address"},
		"pprof on a subnet": {func(o *Options) { o.PprofAddr = "10.0.0.1:6060" }, "--pprof-bind-address"},
		"pprof, no port":    {func(o *Options) { o.PprofAddr = "localhost" }, "--pprof-bind-address"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Concurrency: 1, MetricsAddr: "0", ProbeAddr: "0"}
			test.change(&o)
			_, err := NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one about %s", err, test.want)
			}
		})
	}
	good := Options{Concurrency: 1, QPS: 5, Burst: 10, Namespace: "a", PprofAddr: "127.0.0.1:6060"}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
}

// The default limiter of client-go is what makes most operators slow.
func TestNoLimiterUnlessAskedFor(t *testing.T) {
	given := &rest.Config{}
	if got := (Options{}).limit(given); got.QPS >= 0 {
		t.Errorf("QPS is %v, want a negative number: no limiter", got.QPS)
	}
	if got := (Options{QPS: 50, Burst: 100}).limit(given); got.QPS != 50 || got.Burst != 100 {
		t.Errorf("QPS is %v and burst %d, want 50 and 100", got.QPS, got.Burst)
	}
	if given.QPS != 0 {
		t.Error("the caller's configuration was changed")
	}
}
