package alerts

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/prometheus/model/relabel"
	"sigs.k8s.io/yaml"
)

// monitor is what ServiceMonitor and PodMonitor have in common.
type monitor struct {
	Kind string
	Spec struct {
		SampleLimit, LabelLimit, LabelNameLengthLimit, LabelValueLengthLimit int
		BodySizeLimit                                                        string
		Endpoints, PodMetricsEndpoints                                       []struct {
			HonorLabels       bool
			MetricRelabelings []struct{ Regex, Action string }
		}
	}
}

func monitors(t *testing.T) map[string]monitor {
	t.Helper()
	text, err := os.ReadFile("../../config/prometheus/monitors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]monitor{}
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var m monitor
		if err := yaml.Unmarshal(doc, &m); err != nil {
			t.Fatal(err)
		}
		all[m.Kind] = m
	}
	return all
}

// Pods that train may answer what they like. Prometheus takes little of it, and nothing that looks like the manager's.
func TestScrapesAreLimited(t *testing.T) {
	all := monitors(t)
	if m := all["ServiceMonitor"].Spec; m.SampleLimit == 0 || m.BodySizeLimit == "" {
		t.Errorf("the manager: %+v", m)
	}
	pods := all["PodMonitor"].Spec
	if pods.SampleLimit == 0 || pods.LabelLimit == 0 || pods.LabelNameLengthLimit == 0 || pods.LabelValueLengthLimit == 0 || pods.BodySizeLimit == "" {
		t.Errorf("no limit: %+v", pods)
	}
	if pods.PodMetricsEndpoints[0].HonorLabels {
		t.Error("a pod says whose its metrics are")
	}
	keep := func(kind string, name string) bool {
		s := all[kind].Spec
		r := append(s.Endpoints, s.PodMetricsEndpoints...)[0].MetricRelabelings[0]
		return r.Action == string(relabel.Keep) && relabel.MustNewRegexp(r.Regex).MatchString(name)
	}
	for name := range metrics(t) {
		if !keep("ServiceMonitor", name) || keep("PodMonitor", name) {
			t.Errorf("%s is kept from the manager: %t, from a pod: %t", name, keep("ServiceMonitor", name), keep("PodMonitor", name))
		}
	}
	text, err := os.ReadFile("../../trainer/progress/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`resnet_trainer_\w+`).FindAllString(string(text), -1) {
		if !keep("PodMonitor", name) {
			t.Errorf("%s is not kept", name)
		}
	}
	if keep("PodMonitor", "container_cpu_usage_seconds_total") || keep("PodMonitor", "up") {
		t.Error("a pod has metrics of others")
	}
}
