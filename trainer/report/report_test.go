package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gonum.org/v1/plot"

	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

var (
	update = flag.Bool("update", false, "write the golden files")
	keep   = flag.String("keep", "", "folder to keep the pictures and pages in, to look at them")
)

// testReport is that of a run of 20 epochs on ten classes, resumed once.
func testReport(epochs int) *Report {
	r := &Report{
		Job:      Job{"default", "fashion", "local"},
		Created:  time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC),
		Versions: Versions{"v1.2.3", "1.13.1", "go1.26.0"},
		Hardware: Hardware{"cpu", "Example CPU @ 2.00GHz", 2, "bf16"},
		Model:    Model{11173962},
		Data: Data{Name: "FashionMNIST", Classes: []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"},
			Train: 54000, Validation: 6000, Test: 1000, Height: 32, Width: 32, Channels: 1},
		Training: Training{Attempts: 2, State: StateDone, BestEpoch: int32(epochs - 1)},
		Artifacts: contract.Artifacts{Root: "s3://models/default/fashion/local", Model: "s3://models/default/fashion/local/model/model.safetensors",
			Metrics: "s3://models/default/fashion/local/metrics/a2/metrics.jsonl"},
		Spec: v1.ResNetTrainingJobSpec{
			Model:    v1.ModelSpec{Architecture: v1.ResNet18, Stem: v1.StemCIFAR, Normalization: v1.BatchNorm, Activation: v1.ReLU, WidthMultiplier: 1},
			Template: &v1.PodTemplate{Env: []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://me:secret@proxy"}}},
			Dataset:  v1.DatasetSpec{Format: v1.FashionMNIST, URI: "https://me:secret@host/data?X-Amz-Signature=secret", ValidationFraction: 0.1},
			Storage:  v1.StorageSpec{URI: "s3://models"},
			Training: v1.TrainingSpec{Epochs: int32(epochs), BatchSize: 128, LabelSmoothing: 0.1, EMA: &v1.EMASpec{Decay: new(0.999)},
				Optimizer:    v1.OptimizerSpec{Type: v1.AdamW, WeightDecay: new(5e-4), Betas: []float64{0.9, 0.999}},
				Schedule:     v1.ScheduleSpec{Type: v1.OneCycle, MaxLR: 0.003},
				Augmentation: v1.AugmentationSpec{RandomCropPadding: new(int32(4)), PaddingMode: v1.PaddingReflect, HorizontalFlip: new(true), Cutout: 12}},
		},
	}
	for i := range epochs {
		x := float64(i+1) / float64(epochs)
		r.History = append(r.History, checkpoint.EpochMetrics{
			Epoch: int32(i + 1), Step: int64(421 * (i + 1)),
			TrainLoss: 0.1 + 0.9*math.Exp(-4*x), TestLoss: new(0.22 + 0.5*math.Exp(-5*x) + 0.02*math.Sin(9*x)),
			ValidationLoss: new(0.21 + 0.5*math.Exp(-5*x)), ValidationAccuracy: new(0.94 - 0.2*math.Exp(-4*x)),
			Accuracy: new(0.93 - 0.2*math.Exp(-4*x) - 0.008*math.Sin(9*x)), Top5Accuracy: new(0.998 - 0.01*math.Exp(-4*x)),
			LR: 0.003 * math.Sin(math.Pi*math.Min(x, 0.999)), Momentum: 0.9, GradNorm: 1.5 - x,
			ImagesPerSecond: 412.5, DataWait: 0.012, MemoryBytes: 900 << 20, Seconds: 145.25,
		})
	}
	r.Evaluation = testEvaluation(10)
	r.Complete()
	return r
}

// testEvaluation of n classes with a hundred images each.
func testEvaluation(n int) *Evaluation {
	e := &Evaluation{Weights: "00020-00008420-a2", Images: 100 * n, Loss: 0.2345, Accuracy: 0.9, Top5Accuracy: new(0.998)}
	for i := range n {
		row := make([]int64, n)
		row[i] = 100
		for _, wrong := range []int{(i * 3) % n, (i + 1) % n} {
			if wrong != i {
				lost := int64(1 + (i*7)%13)
				row[i], row[wrong] = row[i]-lost, row[wrong]+lost
			}
		}
		e.Confusion = append(e.Confusion, row)
	}
	return e
}

// golden compares with a file in testdata. Coordinates in pictures may differ in the last digit from processor to
// processor.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./trainer/report -update writes it)", err)
	}
	wantLines, wantNumbers := coordinatesOf(want)
	gotLines, gotNumbers := coordinatesOf(got)
	if diff := cmp.Diff(wantLines, gotLines); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	} else if diff := cmp.Diff(wantNumbers, gotNumbers, cmpopts.EquateApprox(0, 0.05)); diff != "" {
		t.Errorf("coordinates in %s (-want +got):\n%s", name, diff)
	}
}

func keepFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if *keep != "" {
		if err := os.WriteFile(filepath.Join(*keep, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	coordinates = regexp.MustCompile(` (?:d|x|y|points|transform)="[^"]*"`)
	decimals    = regexp.MustCompile(`-?\d+(\.\d+)?(e-?\d+)?`)
)

// coordinatesOf returns the lines of a page without the coordinates in its pictures, and those.
func coordinatesOf(page []byte) (lines []string, numbers []float64) {
	page = coordinates.ReplaceAllFunc(page, func(attribute []byte) []byte {
		return decimals.ReplaceAllFunc(attribute, func(number []byte) []byte {
			x, _ := strconv.ParseFloat(string(number), 64)
			numbers = append(numbers, x)
			return []byte("#")
		})
	})
	return strings.Split(string(page), "\n"), numbers
}

var notFinite = regexp.MustCompile(`NaN|\bInf\b|.{20}%!.{20}`)

func pageOf(t *testing.T, r *Report) []byte {
	t.Helper()
	html, err := r.HTML(func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return html
}

// sample is the report of a real training: testdata has what it left in report/.
func sample(t testing.TB) *Report {
	t.Helper()
	data, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(r); err != nil {
		t.Fatal(err)
	}
	if r.Images.picture, err = os.ReadFile("testdata/" + r.Images.Sheet); err != nil {
		t.Fatal(err)
	}
	r.Complete()
	return r
}

func TestGoldenFiles(t *testing.T) {
	r := sample(t)
	data, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", data)
	data, err = CSV(r.History[:3])
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "metrics.csv", data)
	golden(t, "report.html", pageOf(t, r))
}

// TestSampleAgreesWithItself: what is said twice is the same.
func TestSampleAgreesWithItself(t *testing.T) {
	r := sample(t)
	e, last := r.Evaluation, r.History[len(r.History)-1]
	var images, right int64
	for _, c := range e.PerClass {
		images, right = images+c.Images, right+c.Correct
	}
	if int(images) != e.Images || e.Images != r.Data.Test || float64(right)/float64(images) != e.Accuracy || e.Accuracy != *last.Accuracy {
		t.Errorf("%d images of %d and %d, %d right, accuracies %g and %g", images, e.Images, r.Data.Test, right, e.Accuracy, *last.Accuracy)
	}
	if end := r.Steps[len(r.Steps)-1].Step; end != last.Step || r.Training.Steps != end || r.Schedule[len(r.Schedule)-1].Step != end {
		t.Errorf("the last step is %d and %d", end, last.Step)
	}
	for _, c := range r.Images.Cells {
		for _, x := range c.Examples {
			if x.True != c.True || x.Predicted != c.Predicted || int64(len(c.Examples)) > e.Confusion[c.True][c.Predicted] {
				t.Errorf("cell %d, %d: %+v of %d images", c.True, c.Predicted, c.Examples, e.Confusion[c.True][c.Predicted])
			}
		}
	}
}

func TestPictureThatCannotBeDrawn(t *testing.T) {
	for name, build := range map[string]func() (*plot.Plot, error){
		"panics": func() (*plot.Plot, error) { panic("no") },
		"fails":  func() (*plot.Plot, error) { return nil, errors.New("no") },
	} {
		p := Picture{Name: name, width: 100, height: 100, build: build}
		for _, encode := range []func() ([]byte, error){p.PNG, p.SVG} {
			if _, err := encode(); err == nil || err.Error() != name+": no" {
				t.Errorf("got %v", err)
			}
		}
	}
}

func TestSecretsStayOut(t *testing.T) {
	data, err := testReport(1).JSON()
	if err != nil || bytes.Contains(data, []byte("secret")) {
		t.Errorf("%s: %v", data, err)
	}
}

func TestPageStandsAlone(t *testing.T) {
	html := string(pageOf(t, testReport(3)))
	if strings.Count(html, "<script") != 1 || !strings.Contains(html, "<script>"+pageScript+"</script>") ||
		!strings.Contains(html, "script-src &#39;"+template.HTMLEscapeString(scriptHash())+"&#39;") && !strings.Contains(html, "script-src '"+scriptHash()+"'") {
		t.Error("there is another script than that of the page, or browsers do not run it")
	}
	for _, bad := range []string{"<link", "src=", "url(\"", "url(h", "@import", "import(", "fetch(", "NaN", "Inf", "secret", "Signature", "ZgotmplZ"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

func TestPagesToLookAt(t *testing.T) {
	many := testReport(300)
	many.Data.Classes = nil
	for i := range 40 {
		many.Data.Classes = append(many.Data.Classes, fmt.Sprintf("class_%02d", i))
	}
	many.Evaluation = testEvaluation(40)
	many.History[0].TrainLoss, many.History[1].TestLoss = 3e5, new(1e12)
	one := testReport(1)
	one.Training.BestEpoch = 1
	none := testReport(0)
	none.Evaluation = nil
	bad := testReport(4)
	bad.History[1].TrainLoss, bad.History[2].TestLoss, bad.History[0].ImagesPerSecond = math.NaN(), new(math.Inf(1)), math.Inf(1)
	bad.History[3].ValidationLoss = new(math.NaN())
	for name, r := range map[string]*Report{"many": many, "one": one, "none": none, "bad": bad, "normal": testReport(20)} {
		t.Run(name, func(t *testing.T) {
			r.Complete()
			html := pageOf(t, r)
			keepFile(t, name+".html", html)
			if bad := notFinite.Find(html); bad != nil {
				t.Errorf("%s", bad)
			}
			for _, p := range r.Pictures() {
				if *keep != "" || (name == "normal" && p.Name == "accuracy") { // PNG takes its time
					data, err := p.PNG()
					if err != nil {
						t.Fatal(err)
					}
					if _, err := png.Decode(bytes.NewReader(data)); err != nil {
						t.Error(err)
					}
					keepFile(t, name+"-"+p.Name+".png", data)
				}
				svg, err := p.SVG()
				if err != nil || !bytes.HasPrefix(svg, []byte("<?xml")) || bytes.Contains(svg, []byte("NaN")) {
					t.Errorf("%s.svg: %v", p.Name, err)
				}
				keepFile(t, name+"-"+p.Name+".svg", svg)
			}
			if data, err := r.JSON(); err != nil || !json.Valid(data) {
				t.Errorf("%s: %v", data, err)
			}
		})
	}
}

// TestDefaultsThatDependOnTheData are in the report's spec.
// The best epoch of a quantised training was chosen by its accuracy in int8, which is the one that is shown.
func TestBestEpochInInt8(t *testing.T) {
	r := testReport(4)
	r.Training.BestEpoch = 3
	for i := 1; i < 4; i++ {
		r.History[i].Int8Accuracy, r.History[i].Int8Agreement = new(0.5+float64(i)/100), new(0.9)
	}
	r.Complete()
	want := tile{"Best epoch", Percent(0.52), "epoch 3, by validation accuracy in int8"}
	if tiles := r.tiles(); !slices.Contains(tiles, want) {
		t.Errorf("want %q in %q", want, tiles)
	}
	if p := r.bestPoint(); p.Y != 52 {
		t.Errorf("the curve marks the best epoch at %v %%", p.Y)
	}
}

func TestDefaultsThatDependOnTheData(t *testing.T) {
	r := testReport(1)
	r.Data.Height, r.Data.Width, r.Spec.Model.Stem, r.Spec.Training.Augmentation.HorizontalFlip = 224, 224, "", nil
	r.Complete()
	if flip := r.Spec.Training.Augmentation.HorizontalFlip; r.Spec.Model.Stem != v1.StemImageNet || flip == nil || !*flip {
		t.Errorf("stem %q, flip %v", r.Spec.Model.Stem, flip)
	}
}

func TestReportBeforeTheEnd(t *testing.T) {
	for name, test := range map[string]struct {
		state State
		err   string
		want  []string
	}{
		"under way": {StateTraining, "", []string{"The training goes on.", "<dd>30, 3 done</dd>"}},
		"diverged":  {StateStopped, "the loss is NaN at step 7", []string{"It ended early: the loss is NaN at step 7", "<dd>30, stopped after 3</dd>"}},
		"done":      {StateDone, "", []string{"<dd>30, stopped after 3</dd>"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := testReport(3)
			r.Spec.Training.Epochs, r.Training.State, r.Training.Error = 30, test.state, test.err
			page := string(pageOf(t, r))
			for _, want := range test.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
		})
	}
}

// BenchmarkReport is what a report costs after every epoch: the page and report.json, without pictures.
func BenchmarkReport(b *testing.B) {
	for _, epochs := range []int{20, 200, 2000} {
		b.Run(fmt.Sprint(epochs), func(b *testing.B) {
			r := testReport(epochs)
			for b.Loop() {
				if _, err := r.HTML(func(err error) { b.Error(err) }); err != nil {
					b.Fatal(err)
				}
				if _, err := r.JSON(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
