// Package alerts checks the rules in config/prometheus with Prometheus' own parser and engine.
package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"sigs.k8s.io/yaml"
)

// groups are the rules of the PrometheusRule, as the Prometheus operator hands them to Prometheus.
func groups(t *testing.T) *rulefmt.RuleGroups {
	t.Helper()
	text, err := os.ReadFile("../../config/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Kind string `json:"kind"`
		Spec any    `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &rule); err != nil || rule.Kind != "PrometheusRule" {
		t.Fatalf("a %q: %v", rule.Kind, err)
	}
	spec, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	all, errs := rulefmt.Parse(spec, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Fatal(err) // what promtool check rules would say
	}
	return all
}

// metrics that the manager has, with their labels: the record that its own tests keep.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../controllers/testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{"controller_runtime_reconcile_errors_total": {"controller"}}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)\{(.*)\} (\w+):`).FindAllStringSubmatch(string(text), -1) {
		name, names := m[1], strings.Split(m[2], ",")
		if m[3] == "histogram" {
			name, names = name+"_bucket", append(names, "le")
		}
		all[name] = names
	}
	return all
}

func TestRulesAskForMetricsThatExist(t *testing.T) {
	known := metrics(t)
	for _, group := range groups(t).Groups {
		for _, rule := range group.Rules {
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
			if err != nil {
				t.Fatal(err)
			}
			var has []string
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				s, ok := node.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				names, ok := known[s.Name]
				if !ok {
					t.Errorf("%s: there is no metric %s", rule.Alert, s.Name)
				}
				for _, m := range s.LabelMatchers {
					if m.Name != labels.MetricName && m.Name != "job" && !slices.Contains(names, m.Name) {
						t.Errorf("%s: %s has no label %s", rule.Alert, s.Name, m.Name)
					}
				}
				if !slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool {
					return m.Name == "job" && m.Type == labels.MatchEqual && m.Value == managerJob
				}) {
					t.Errorf("%s: whose is %s? Pods that train can have it too: select job=%q", rule.Alert, s.Name, managerJob)
				}
				has = append(has, names...)
				return nil
			})
			for _, m := range regexp.MustCompile(`by \((\w+)\)|\$labels\.(\w+)`).FindAllStringSubmatch(rule.Expr+fmt.Sprint(rule.Annotations), -1) {
				if label := m[1] + m[2]; !slices.Contains(has, label) {
					t.Errorf("%s: there is no label %s", rule.Alert, label)
				}
			}
		}
	}
}

// A series every minute for three hours; each alert is asked at their end.
func TestAlertsFire(t *testing.T) {
	const end = 180
	const job = `{namespace="team",name="net"}`
	for alert, test := range map[string]struct{ fires, quiet string }{
		"ResNetJobHung": {
			fires: `resnet_operator_job_last_step_timestamp_seconds` + job + ` 60x200`,
			quiet: `resnet_operator_job_last_step_timestamp_seconds` + job + ` 0+60x200`,
		},
		"ResNetJobsFailRepeatedly": {
			fires: `resnet_operator_failures_total{reason="TrainerError"} 0x120 1+0.1x80`,
			quiet: `resnet_operator_failures_total{reason="TrainerError"} 0+1x30 30x170`,
		},
		"ResNetStorageUnreachable": {
			fires: `resnet_operator_failures_total{reason="StorageUnreachable"} 0x170 1+1x20`,
			quiet: `resnet_operator_failures_total{reason="TrainerError"} 0x170 1+1x20`,
		},
		"ResNetJobAccuracyNotMoving": {
			fires: "resnet_operator_job_best_accuracy_ratio" + job + " 0.1x200\n  resnet_operator_job_epoch" + job + " 0+1x200",
			quiet: "resnet_operator_job_best_accuracy_ratio" + job + " 0.1+0.004x200\n  resnet_operator_job_epoch" + job + " 0+1x200",
		},
		"ResNetQueueTooLong": {
			fires: "resnet_operator_queue_wait_seconds_bucket{le=\"3600\"} 0x200\n  resnet_operator_queue_wait_seconds_bucket{le=\"7200\"} 0+1x200\n  resnet_operator_queue_wait_seconds_bucket{le=\"+Inf\"} 0+1x200",
			quiet: "resnet_operator_queue_wait_seconds_bucket{le=\"60\"} 0+1x200\n  resnet_operator_queue_wait_seconds_bucket{le=\"3600\"} 0+1x200\n  resnet_operator_queue_wait_seconds_bucket{le=\"+Inf\"} 0+1x200",
		},
		"ResNetJobsCannotStart": {
			fires: `resnet_operator_jobs{namespace="team",state="Pending"} 2x200`,
			quiet: `resnet_operator_jobs{namespace="team",state="Queued"} 2x200`,
		},
		"ResNetJobsDisrupted": {
			fires: `resnet_operator_disruptions_total{reason="PreemptionByScheduler"} 0+1x200`,
			quiet: `resnet_operator_disruptions_total{reason="PreemptionByScheduler"} 0+0.1x200`,
		},
		"ResNetOperatorDown": {
			fires: `resnet_operator_attempts_total 0x60`,
			quiet: `resnet_operator_attempts_total 0x200`,
		},
		"ResNetOperatorErrors": {
			fires: `controller_runtime_reconcile_errors_total{controller="resnettrainingjob"} 0+60x200`,
			quiet: `controller_runtime_reconcile_errors_total{controller="other"} 0+60x200`,
		},
	} {
		t.Run(alert, func(t *testing.T) {
			expr := expression(t, alert)
			if n := results(t, from(managerJob, test.fires), expr, end); n == 0 {
				t.Errorf("does not fire when it should: %s", expr)
			}
			if n := results(t, from(managerJob, test.quiet), expr, end); n != 0 {
				t.Errorf("fires when it should not: %s", expr)
			}
			// A pod that trains answers the same: it neither raises an alert nor silences one.
			if n := results(t, from(managerJob, test.quiet)+"\n  "+from(trainerJob, test.fires), expr, end); n != 0 {
				t.Errorf("is raised by a pod: %s", expr)
			}
			if n := results(t, from(managerJob, test.fires)+"\n  "+from(trainerJob, test.quiet), expr, end); n == 0 {
				t.Errorf("is silenced by a pod: %s", expr)
			}
		})
	}
}

// Prometheus calls a scrape by its Service, or by its PodMonitor.
const (
	managerJob = "resnet-operator-metrics"
	trainerJob = "resnet-operator/resnet-trainer"
)

// from adds the label of a scrape to series.
func from(job, series string) string {
	return regexp.MustCompile(`(?m)^(\s*\w+)(?:\{(.*)\})? `).ReplaceAllString(series, `$1{job="`+job+`",$2} `)
}

func expression(t *testing.T, alert string) string {
	t.Helper()
	for _, group := range groups(t).Groups {
		for _, rule := range group.Rules {
			if rule.Alert == alert {
				return rule.Expr
			}
		}
	}
	t.Fatalf("there is no alert %s", alert)
	return ""
}

func results(t *testing.T, series, expr string, minute int) int {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 1m\n  "+series+"\n")
	engine := promqltest.NewTestEngine(t, false, 0, 10000)
	query, err := engine.NewInstantQuery(context.Background(), storage, nil, expr, time.Unix(0, 0).Add(time.Duration(minute)*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	vector, err := query.Exec(t.Context()).Vector()
	if err != nil {
		t.Fatal(err)
	}
	return len(vector)
}

// Every alert has a test.
func TestAlertsAreTested(t *testing.T) {
	text, err := os.ReadFile("alerts_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups(t).Groups {
		for _, rule := range group.Rules {
			if !strings.Contains(string(text), `"`+rule.Alert+`": {`) {
				t.Errorf("%s has no test", rule.Alert)
			}
		}
	}
}
