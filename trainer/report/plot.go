package report

import (
	"bytes"
	"fmt"
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
)

// Picture is a plot that can be written in several formats.
type Picture struct {
	// Name of the file, without its extension.
	Name string
	// Title says what it shows.
	Title string

	width, height vg.Length
	build         func() (*plot.Plot, error)
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
	data, err := p.encode(nil, func() vg.CanvasWriterTo { return vgsvg.New(p.width, p.height) })
	if err != nil {
		return "", err
	}
	svg := string(data)
	_, svg, _ = strings.Cut(svg, "xlink\">") // the header, which is that of a file
	for c, name := range map[color.RGBA]string{
		ink: "ink", gridColor: "grid", blue: "blue", vermillion: "vermillion", green: "green", purple: "purple",
	} {
		svg = strings.ReplaceAll(svg, fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B), "var(--"+name+")")
	}
	svg = strings.NewReplacer("font-family:Liberation Sans;font-variant:none;font-weight:normal;font-style:normal;", "",
		"\n\tstyle", " style").Replace(svg)
	return fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">%s`,
		p.width.Points(), p.height.Points(), p.Title, svg), nil
}

// encode draws the picture. The library panics where it cannot: that is an error here.
func (p Picture) encode(background color.Color, canvas func() vg.CanvasWriterTo) (data []byte, err error) {
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
	plt.Draw(draw.Crop(draw.New(c), 6, -14, 6, -8))
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
