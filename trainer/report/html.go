package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

//go:embed report.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	// A bar of 100 % takes ten em.
	"bar": func(share float64) template.CSS { return template.CSS(fmt.Sprintf("%.2fem", 10*share)) },
}).Parse(pageText))

// page is what the template shows.
type page struct {
	*Report
	Headline       string
	Tiles          []tile
	Curves         []template.HTML
	EvaluationText string
	Outputs        []string      // of the network, the columns of Matrix
	Matrix         []matrixRow   // up to maxLabelled outputs
	MatrixPicture  template.HTML // for more
	ManyClasses    bool          // more than a matrix has room for
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
}

// HTML is report.html: one page that needs no other file and no scripts. Pictures that cannot be drawn are left out;
// warn is told.
func (r *Report) HTML(warn func(error)) ([]byte, error) {
	p := page{Report: r, Headline: r.headline(), Tiles: r.tiles(), Facts: r.facts(), ShowEpochs: len(r.History) <= 40}
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

// showConfusion as a table that can be read aloud, or for many classes as a picture.
func (p *page) showConfusion(warn func(error)) {
	e := p.Evaluation
	p.ManyClasses = e.Confusion.outputs() > maxMatrix
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
