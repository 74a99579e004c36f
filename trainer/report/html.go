package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// The page, its style, and what it does where scripts run; without them everything can be read.
var (
	//go:embed page.html.tmpl
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	// A bar of 100 % takes ten em.
	"bar": func(share float64) template.CSS { return template.CSS(fmt.Sprintf("%.2fem", 10*share)) },
}).Parse(pageText))

// page is what the template shows.
type page struct {
	*Report
	Style          template.CSS
	Script         template.JS
	ScriptHash     string // by which a browser knows it, and runs no other
	Headline       string
	Tiles          []tile
	Images         *shownImages
	Findings       []finding
	Augmentation   string
	Curves         []template.HTML
	EvaluationText string
	Outputs        []string      // of the network, the columns of Matrix
	Matrix         []matrixRow   // up to maxLabelled outputs
	MatrixPicture  template.HTML // for more
	ManyClasses    bool          // more than a matrix has room for
	Confused       []confusedPair
	Cells          []shownCell // that can be opened
	Classes        []Class     // the weakest first
	BestBy         string
	Code           []Code
	Links          []link
	Facts          []factGroup
	ShowEpochs     bool
	EpochColumns   []string
	EpochRows      []epochRow
	SpecYAML       string
}

type tile struct{ Name, Value, Note string }

type matrixRow struct {
	Name  string
	Cells []matrixCell
}

type matrixCell struct {
	Images int64
	Title  string
	Style  template.CSS
	Cell   string // the ID of its images
}

type confusedPair struct {
	Pair
	Cell string
}

// HTML is report.html: one page that needs no other file, and can be read where scripts do not run. Its size is that of
// the gallery's sheet (at most 1.6 MB), some 100 KB for the curves, and what rises with classes and epochs up to their
// limits.
// Pictures that cannot be drawn are left out;
// warn is told.
func (r *Report) HTML(warn func(error)) ([]byte, error) {
	p := page{Report: r, Style: template.CSS(pageStyle), Script: template.JS(pageScript), ScriptHash: scriptHash(),
		Headline: r.headline(), Tiles: r.tiles(),
		Images: r.shownImages(), Findings: r.findings(), Augmentation: augmentationText(r.Spec.Training.Augmentation),
		BestBy: r.bestBy(), Code: r.Code(), Links: r.links(), Facts: r.facts(), ShowEpochs: len(r.History) <= 40}
	if g := r.Images; g != nil {
		p.Style += g.style()
	}
	for _, picture := range r.Curves() {
		svg, err := picture.inline()
		if err != nil {
			warn(err)
			continue
		}
		p.Curves = append(p.Curves, template.HTML(svg))
	}
	if e := r.Evaluation; e != nil {
		p.EvaluationText = r.evaluationText()
		p.showConfusion(warn)
	}
	p.EpochColumns, p.EpochRows = r.epochTable()
	spec, err := yaml.Marshal(r.Spec)
	if err != nil {
		return nil, err
	}
	p.SpecYAML = string(spec)
	var out bytes.Buffer
	err = pageTemplate.Execute(&out, p)
	return out.Bytes(), err
}

// scriptHash is the source of the page's script in its content security policy.
func scriptHash() string {
	sum := sha256.Sum256([]byte(pageScript))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// showConfusion as a table that can be read aloud, or for many classes as a picture.
func (p *page) showConfusion(warn func(error)) {
	e := p.Evaluation
	p.ManyClasses = e.Confusion.outputs() > maxMatrix
	p.Classes = slices.Clone(e.PerClass)
	slices.SortStableFunc(p.Classes, func(a, b Class) int { return cmp.Compare(a.Accuracy, b.Accuracy) })
	p.Cells = p.Report.shownCells()
	for _, pair := range e.Confused {
		p.Confused = append(p.Confused, confusedPair{pair, p.Report.Images.cellID(pair.row, pair.column)})
	}
	if len(e.Confusion) == 0 {
		return
	}
	if e.Confusion.outputs() <= maxLabelled {
		for j := range e.Confusion.outputs() {
			p.Outputs = append(p.Outputs, e.output(j))
		}
		for i, row := range e.Confusion {
			cells := make([]matrixCell, len(row))
			for j, n := range row {
				cells[j] = e.cell(i, j, n)
				cells[j].Cell = p.Report.Images.cellID(i, j)
			}
			p.Matrix = append(p.Matrix, matrixRow{e.PerClass[i].Name, cells})
		}
		return
	}
	svg, err := e.confusionPicture().inline()
	if err != nil {
		warn(err)
		return
	}
	p.MatrixPicture = template.HTML(svg)
}

func (e *Evaluation) cell(i, j int, n int64) matrixCell {
	share := ratio(n, e.PerClass[i].Images)
	c := matrixCell{Images: n, Title: fmt.Sprintf("%s taken for %s: %d images, %.1f %%", e.PerClass[i].Name, e.output(j), n, 100*share)}
	if n == 0 {
		return c
	}
	color, text := shade(share), "#1f2933"
	if dark(share) {
		text = "#ffffff"
	}
	c.Style = template.CSS(fmt.Sprintf("background:#%02x%02x%02x;color:%s", color.R, color.G, color.B, text))
	return c
}

type epochRow struct {
	Best  bool
	Cells []string
}

// maxRows is how many epochs the page lists; metrics.csv has all.
const maxRows = 1000

// listed are the epochs of the table: of very many every second, third …, and always the best and the last one.
func (r *Report) listed() []checkpoint.EpochMetrics {
	every := (len(r.History) + maxRows - 1) / maxRows
	var listed []checkpoint.EpochMetrics
	for i, m := range r.History {
		if (i+1)%every == 0 || m.Epoch == r.Training.BestEpoch || i == len(r.History)-1 {
			listed = append(listed, m)
		}
	}
	return listed
}

// epochTable has the columns that any epoch has a number for.
func (r *Report) epochTable() (names []string, rows []epochRow) {
	listed := r.listed()
	rows = make([]epochRow, len(listed))
	for i, m := range listed {
		rows[i].Best = m.Epoch == r.Training.BestEpoch
	}
	for _, c := range epochColumns {
		if c.name == top5Column && r.top5(new(float64)) == nil {
			continue
		}
		var cells []string
		known := false
		for _, m := range listed {
			cell := c.text(m)
			known = known || strings.Trim(cell, "0. %") != ""
			cells = append(cells, cell)
		}
		if !known {
			continue
		}
		names = append(names, c.name)
		for i, cell := range cells {
			rows[i].Cells = append(rows[i].Cells, cell)
		}
	}
	return names, rows
}
