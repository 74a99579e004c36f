package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"runtime"
	"strings"
	"testing"
)

// files are all that a report leaves, with the most memory that making one of them took up in MiB.
func files(t *testing.T, r *Report) (all map[string][]byte, mib float64) {
	t.Helper()
	all = map[string][]byte{}
	add := func(name string, encode func() ([]byte, error)) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		data, err := encode()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = data
		mib = max(mib, float64(after.TotalAlloc-before.TotalAlloc)/(1<<20))
	}
	add("report.json", func() ([]byte, error) { r.Complete(); return r.JSON() })
	add("report.html", func() ([]byte, error) { return r.HTML(func(err error) { t.Error(err) }) })
	for _, p := range r.Pictures() {
		add(p.Name+".png", p.PNG)
		add(p.Name+".svg", p.SVG)
	}
	return all, mib
}

// TestManyClasses: files and memory do not grow with the square of the classes.
func TestManyClasses(t *testing.T) {
	for _, classes := range []int{maxMatrix, maxMatrix + 1, 1000, 4000} {
		t.Run(fmt.Sprint(classes), func(t *testing.T) {
			r := testReport(4)
			r.Data.Classes = nil
			for i := range classes {
				r.Data.Classes = append(r.Data.Classes, fmt.Sprintf("class_%04d", i))
			}
			r.Evaluation = testEvaluation(classes)
			files, mib := files(t, r)
			if mib > 80 {
				t.Errorf("a file took %.0f MiB", mib)
			}
			for name, data := range files {
				if len(data) > 1<<20+classes*700 {
					t.Errorf("%s has %d bytes", name, len(data))
				}
				keepFile(t, fmt.Sprintf("classes-%d-%s", classes, name), data)
			}
			for _, name := range []string{"confusion.png", "per-class.png"} {
				config, err := png.DecodeConfig(bytes.NewReader(files[name]))
				if err != nil || config.Width > 3000 || config.Height > 4700 {
					t.Errorf("%s has %d×%d pixels: %v", name, config.Width, config.Height, err)
				}
			}
			page := string(files["report.html"])
			if got, want := strings.Contains(page, "Most confused classes"), classes > maxMatrix; got != want {
				t.Errorf("most confused classes: %v", got)
			}
			if last := fmt.Sprintf("<td>class_%04d</td>", classes-1); !strings.Contains(page, last) {
				t.Errorf("no %s", last)
			}
			if total := countsOf(t, files["report.json"]); total != int64(r.Evaluation.Images) {
				t.Errorf("report.json counts %d images of %d", total, r.Evaluation.Images)
			}
		})
	}
}

// countsOf sums the confusion matrix of report.json, in either form.
func countsOf(t *testing.T, data []byte) (total int64) {
	t.Helper()
	var report struct {
		Evaluation struct{ Confusion json.RawMessage }
	}
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	var dense [][]int64
	if json.Unmarshal(report.Evaluation.Confusion, &dense) == nil {
		for _, row := range dense {
			for _, n := range row {
				total += n
			}
		}
		return total
	}
	var sparse struct{ Rows, Columns, Counts []int64 }
	if err := json.Unmarshal(report.Evaluation.Confusion, &sparse); err != nil {
		t.Fatal(err)
	}
	if len(sparse.Rows) != len(sparse.Counts) || len(sparse.Columns) != len(sparse.Counts) {
		t.Fatalf("%d rows, %d columns, %d counts", len(sparse.Rows), len(sparse.Columns), len(sparse.Counts))
	}
	for _, n := range sparse.Counts {
		total += n
	}
	return total
}

func TestManyEpochs(t *testing.T) {
	r := testReport(20000)
	files, mib := files(t, r)
	if mib > 120 {
		t.Errorf("a file took %.0f MiB", mib)
	}
	for name, data := range files {
		if name != "report.json" && len(data) > 2<<20 {
			t.Errorf("%s has %d bytes", name, len(data))
		}
	}
	page := string(files["report.html"])
	for _, want := range []string{"<summary>20000 epochs</summary>", "metrics.csv has all", `title="best epoch"`, ">20000</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// TestMoreOutputsThanClasses: spec.model.numClasses may be larger than the data needs.
func TestMoreOutputsThanClasses(t *testing.T) {
	r := testReport(2)
	r.Evaluation.Confusion = nil
	for i := range 10 {
		row := make([]int64, 12)
		row[i], row[11] = 90, 10
		r.Evaluation.Confusion = append(r.Evaluation.Confusion, row)
	}
	files, _ := files(t, r)
	if page := string(files["report.html"]); !strings.Contains(page, "Trouser taken for #11: 10 images, 10.0 %") || strings.Count(page, `<th scope="col">`) != 12 {
		t.Error("the page lacks the outputs that are no classes")
	}
	if c := r.Evaluation.PerClass[1]; c.Accuracy != 0.9 || c.Precision != 1 {
		t.Errorf("%+v", c)
	}
}

func TestLongNames(t *testing.T) {
	r := testReport(2)
	long := strings.Repeat("é very long name ", 30)
	r.Data.Classes[3] = long
	files, _ := files(t, r)
	if svg := string(files["per-class.svg"]); strings.Contains(svg, long) || !strings.Contains(svg, "…") {
		t.Error("a long name fills the picture")
	}
	if !strings.Contains(string(files["report.html"]), "<td>"+long+"</td>") {
		t.Error("the page lacks the whole name")
	}
}

func TestNoConfusion(t *testing.T) {
	r := testReport(2)
	r.Evaluation.Confusion = nil
	files, _ := files(t, r)
	if !strings.Contains(string(files["report.html"]), "too many outputs") || files["confusion.png"] != nil {
		t.Error("the page does not say why there is no confusion matrix")
	}
}
