package alerts

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// board is what of a board for Grafana is checked.
type board struct {
	UID, Title string
	Templating struct {
		List []struct {
			Name, Type string
			Definition string
			Query      any
		}
	}
	Panels []struct {
		ID         int
		Type       string
		Title      string
		GridPos    struct{ X, Y, W, H int }
		Datasource struct{ UID string }
		Targets    []struct{ RefID, Expr, LegendFormat string }
	}
}

func boards(t *testing.T) map[string]board {
	t.Helper()
	files, err := filepath.Glob("../../config/grafana/*.json")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	all := map[string]board{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = b
	}
	return all
}

// scraped are the metrics that Prometheus has of managers and of pods that train, with the labels that a scrape adds.
func scraped(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for name, names := range metrics(t) {
		all[name] = append(slices.Clone(names), "job", "pod")
	}
	text, err := os.ReadFile("../../trainer/progress/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	pod := []string{"namespace", "pod", "phase", "training_resnet_operator_dev_job_name", "training_resnet_operator_dev_attempt"}
	for _, m := range regexp.MustCompile(`gauge\("(\w+)"|NewDesc\("resnet_trainer_(\w+)"`).FindAllStringSubmatch(string(text), -1) {
		all["resnet_trainer_"+m[1]+m[2]] = pod
	}
	for _, name := range []string{"process_resident_memory_bytes", "process_cpu_seconds_total"} { // both have Go's process collector
		all[name] = append(slices.Clone(pod), "job")
	}
	return all
}

// Every query of a board is one, and asks for metrics and labels that there are.
func TestBoardsAskForMetricsThatExist(t *testing.T) {
	known := scraped(t)
	used := map[string]bool{}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$namespace", "team", "$name", "net")
	check := func(t *testing.T, where, query, legend string) {
		t.Helper()
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(query))
		if err != nil {
			t.Errorf("%s: %s: %v", where, query, err)
			return
		}
		var has []string
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			s, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			names, ok := known[s.Name]
			if !ok {
				t.Errorf("%s: there is no metric %s", where, s.Name)
			}
			for _, m := range s.LabelMatchers {
				if m.Name != labels.MetricName && !slices.Contains(names, m.Name) {
					t.Errorf("%s: %s has no label %s", where, s.Name, m.Name)
				}
			}
			used[s.Name], has = true, append(has, names...)
			return nil
		})
		for _, m := range regexp.MustCompile(`by \(([\w, ]+)\)|\{\{(\w+)\}\}`).FindAllStringSubmatch(query+legend, -1) {
			for label := range strings.SplitSeq(m[1]+m[2], ", ") {
				if !slices.Contains(has, label) {
					t.Errorf("%s: there is no label %s", where, label)
				}
			}
		}
	}
	for file, b := range boards(t) {
		for _, v := range b.Templating.List {
			if m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition); m != nil {
				check(t, file+": $"+v.Name, m[1], "{{"+m[2]+"}}")
			} else if v.Type != "datasource" {
				t.Errorf("%s: $%s is %s", file, v.Name, v.Definition)
			}
		}
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				check(t, file+": "+p.Title, target.Expr, target.LegendFormat)
			}
		}
	}
	for name := range maps.Keys(metrics(t)) {
		if !used[name] && strings.HasPrefix(name, "resnet_operator_") {
			t.Errorf("no board shows %s", name)
		}
	}
}

// Panels have their own place and number, and the board's data source.
func TestBoardsAreWellFormed(t *testing.T) {
	for file, b := range boards(t) {
		if b.UID == "" || b.Title == "" || len(b.Panels) < 10 {
			t.Errorf("%s: %q %q, %d panels", file, b.UID, b.Title, len(b.Panels))
		}
		cells, ids := map[[2]int]string{}, map[int]bool{}
		for _, p := range b.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: %s has the number %d of another", file, p.Title, p.ID)
			}
			ids[p.ID] = true
			if p.Type != "row" && (p.Datasource.UID != "${datasource}" || len(p.Targets) == 0) {
				t.Errorf("%s: %s asks %q for %v", file, p.Title, p.Datasource.UID, p.Targets)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %s lies on %s, or outside", file, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// TestBoardsAreGrafanas: the boards have no field that Grafana's schema does not know, and no value of another type. What is
// missing Grafana fills in when it loads them.
func TestBoardsAreGrafanas(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	for file := range boards(t) {
		text, err := os.ReadFile(filepath.Join("../../config/grafana", file))
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard.Dashboard
		wrong := d.UnmarshalJSONStrict(text)
		if wrong == nil {
			continue
		}
		for line := range strings.SplitSeq(wrong.Error(), "\n") {
			if !strings.HasSuffix(line, ": required field is missing from input") {
				t.Errorf("%s: %s", file, line)
			}
		}
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
