package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colours of all pictures. Those of curves are Okabe and Ito's, which people with any kind of colour vision tell apart;
// curves differ in their dashes and marks too.
var (
	ink        = color.RGBA{0x1f, 0x29, 0x33, 0xff}
	gridColor  = color.RGBA{0xdf, 0xe3, 0xe8, 0xff}
	blue       = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	vermillion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	green      = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	purple     = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
	faintBlue  = color.RGBA{0x9a, 0xc6, 0xe0, 0xff}
	faintGreen = color.RGBA{0x99, 0xd8, 0xc7, 0xff}
)

// variables of the page's style sheet that hold these colours.
var variables = map[color.RGBA]string{
	ink: "var(--ink)", gridColor: "var(--grid)", blue: "var(--blue)", vermillion: "var(--vermillion)",
	green: "var(--green)", purple: "var(--purple)", faintBlue: "var(--faint-blue)", faintGreen: "var(--faint-green)",
}

// Picture is a plot that can be written in several formats.
type Picture struct {
	// Name of the file, without its extension.
	Name string
	// Title says what it shows.
	Title string

	width, height vg.Length
	build         func() (*plot.Plot, error)
	// curves and the format of their values are what a page shows under the pointer; nil for nothing.
	curves []curve
	format string
}

// PNG is the picture at 192 dots per inch.
func (p Picture) PNG() ([]byte, error) {
	return p.encode(color.White, func() vg.CanvasWriterTo {
		return vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(p.width, p.height), vgimg.UseDPI(192))}
	})
}

// SVG is the picture as a file of its own.
func (p Picture) SVG() ([]byte, error) {
	svg, err := p.encode(color.White, func() vg.CanvasWriterTo { return vgsvg.New(p.width, p.height) })
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans"), []byte("font-family:"+fontFamily)), err
}

// fontFamily begins with the font that the text was measured with; the others have the same widths.
const fontFamily = "Liberation Sans,Arial,Helvetica,sans-serif"

// inline is the picture as an element of a page, whose style sheet sets the colours.
func (p Picture) inline() (string, error) {
	var area vg.Rectangle
	data, err := p.draw(nil, func() vg.CanvasWriterTo { return vgsvg.New(p.width, p.height) }, &area)
	if err != nil {
		return "", err
	}
	svg := string(data)
	_, svg, _ = strings.Cut(svg, "xlink\">") // the header, which is that of a file
	for c, name := range variables {
		svg = strings.ReplaceAll(svg, hex(c), name)
	}
	svg = strings.NewReplacer("font-family:Liberation Sans;font-variant:none;font-weight:normal;font-style:normal;", "",
		"\n\tstyle", " style").Replace(svg)
	return fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s"%s>%s`,
		p.width.Points(), p.height.Points(), html.EscapeString(p.Title), p.pointed(area), svg), nil
}

// pointed is an attribute with what the page's script shows under the pointer: the area of the curves in the units of the
// view box, the number of the last step, and the values. It is empty where there is none.
func (p Picture) pointed(area vg.Rectangle) string {
	if p.curves == nil {
		return ""
	}
	type series struct {
		Name   string   `json:"name"`
		Color  string   `json:"color"`
		Steps  []int64  `json:"steps"`
		Values []string `json:"values"`
	}
	var data struct {
		Left   float64  `json:"left"`
		Right  float64  `json:"right"`
		Top    float64  `json:"top"`
		Bottom float64  `json:"bottom"`
		Last   float64  `json:"last"`
		Curves []series `json:"curves"`
	}
	data.Left, data.Right = round2(area.Min.X), round2(area.Max.X)
	data.Top, data.Bottom = round2(p.height-area.Max.Y), round2(p.height-area.Min.Y)
	for _, c := range p.curves {
		s := series{Name: c.name, Color: variables[c.color]}
		for _, xy := range thinned(c.points) {
			data.Last = max(data.Last, xy.X)
			s.Steps, s.Values = append(s.Steps, int64(xy.X)), append(s.Values, fmt.Sprintf(p.format, xy.Y))
		}
		data.Curves = append(data.Curves, s)
	}
	encoded, err := json.Marshal(data)
	if err != nil { // there is nothing in it that JSON has no word for
		return ""
	}
	return ` tabindex="0" data-curves="` + html.EscapeString(string(encoded)) + `"`
}

func round2(l vg.Length) float64 { return math.Round(100*l.Points()) / 100 }

func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

// encode draws the picture on a background.
func (p Picture) encode(background color.Color, canvas func() vg.CanvasWriterTo) (data []byte, err error) {
	return p.draw(background, canvas, nil)
}

// draw draws the picture and says in which area its data lies, if area is not nil. The library panics where it cannot:
// that is an error here.
func (p Picture) draw(background color.Color, canvas func() vg.CanvasWriterTo, area *vg.Rectangle) (data []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v", p.Name, r)
		}
	}()
	plt, err := p.build()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	plt.BackgroundColor = background
	c := canvas()
	inner := draw.Crop(draw.New(c), 6, -14, 6, -8)
	plt.Draw(inner)
	if area != nil {
		*area = plt.DataCanvas(inner).Rectangle
	}
	var out bytes.Buffer
	_, err = c.WriteTo(&out)
	return out.Bytes(), err
}

// newPlot returns an empty plot in our style.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	sans := func(size float64) font.Font {
		return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	}
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font, p.Title.TextStyle.Color, p.Title.Padding = sans(13), ink, 12
	p.Legend.TextStyle.Font, p.Legend.TextStyle.Color = sans(10), ink
	p.Legend.Top, p.Legend.Padding, p.Legend.ThumbnailWidth, p.Legend.YPosition = true, 3, 26, draw.PosCenter
	p.Legend.XOffs, p.Legend.YOffs = -8, -2
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color, axis.Label.Padding = sans(11), ink, 5
		axis.Tick.Label.Font, axis.Tick.Label.Color = sans(10), ink
		axis.Tick.Marker = linearTicks{}
		axis.Color, axis.Tick.Color, axis.Tick.Length, axis.Padding = ink, ink, 4, 0
	}
	return p
}

// gridLines behind the data.
func gridLines() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = gridColor, gridColor
	g.Vertical.Width, g.Horizontal.Width = 0.7, 0.7
	return g
}

// linearTicks marks at most ten round numbers; least is the smallest step between them.
type linearTicks struct{ least float64 }

func (t linearTicks) Ticks(lo, hi float64) []plot.Tick {
	step := math.Max(t.least, niceStep((hi-lo)/10))
	format, digits := byte('f'), int(math.Max(0, -math.Floor(math.Log10(step)+1e-9)))
	if digits > 5 {
		format, digits = 'g', 3
	}
	var ticks []plot.Tick
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9; i++ {
		v := i*step + 0 // of -0 it makes 0
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, format, digits, 64)})
	}
	return ticks
}

// niceStep is the least of 1, 2 and 5 times a power of ten that is at least x.
func niceStep(x float64) float64 {
	if x <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= x*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logTicks marks the powers of ten on an axis of logarithms, and between them 2 and 5 if there are few.
type logTicks struct{}

func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	every := math.Max(1, math.Ceil((hi-lo)/8))
	for e := math.Floor(lo); e <= hi; e++ {
		for m := 1; m < 10; m++ {
			at := e + math.Log10(float64(m))
			if at < lo || at > hi || (m > 1 && every > 1) {
				continue
			}
			tick := plot.Tick{Value: at}
			if (m == 1 && math.Mod(e, every) == 0) || ((m == 2 || m == 5) && hi-lo < 3) {
				tick.Label = powerLabel(m, int(e))
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// powerLabel is m·10^e as people write it.
func powerLabel(m, e int) string {
	switch {
	case e < -4 || e > 6:
		return fmt.Sprintf("%de%d", m, e)
	case e < 0:
		return "0." + strings.Repeat("0", -e-1) + strconv.Itoa(m)
	default:
		return strconv.Itoa(m) + strings.Repeat("0", e)
	}
}
