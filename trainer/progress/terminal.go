package progress

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// Line is what a bar shows.
type Line struct {
	// Label says what is being done.
	Label string
	// Done of Total; 0 of 0 shows no bar.
	Done, Total int64
	// Details stand behind the bar, as many as there is room for; the most important one comes first.
	Details []string
}

// Terminal shows a line with a bar that moves, under what is written to it.
type Terminal struct {
	file      *os.File
	container *mpb.Progress
	bar       *mpb.Bar
}

// IsTerminal says whether a bar can move on f: it is a terminal of known width that is not dumb.
func IsTerminal(f *os.File) bool {
	if os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0
}

// NewTerminal begins to show what line returns, several times a second, until Close. line is called by another
// goroutine. It uses no colours, and leaves the cursor and the settings of the terminal alone, so that nothing is left
// behind if the process is killed.
func NewTerminal(f *os.File, line func() Line) *Terminal {
	out := cupwriter.New(fromMargin{f}, false)
	out.SetTermFd(int(f.Fd()))
	t := &Terminal{file: f, container: mpb.New(mpb.WithConsoleWriter(out))}
	style := mpb.BarStyle().Build()
	draw := func(w io.Writer, stat decor.Statistics) error {
		l := line()
		left, right := l.layout(stat.AvailableWidth)
		if _, err := io.WriteString(w, left); err != nil {
			return err
		}
		if room := stat.AvailableWidth - width(left) - width(right); l.Total > 0 && room >= minBar {
			stat.AvailableWidth, stat.Current, stat.Total = room, min(l.Done, l.Total), l.Total
			if err := style.Fill(w, stat); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, right)
		return err
	}
	t.bar = t.container.New(0, fillerOf(draw), mpb.BarFillerTrim())
	t.bar.SetTotal(1, false)
	return t
}

// fromMargin begins every write at the left margin: a terminal shows ^C when it is typed, and moves the cursor.
type fromMargin struct{ w io.Writer }

func (m fromMargin) Write(b []byte) (int, error) {
	n, err := m.w.Write(append([]byte{'\r'}, b...))
	return max(0, n-1), err
}

// fillerOf is an mpb.BarFillerBuilder of a function.
type fillerOf mpb.BarFillerFunc

func (f fillerOf) Build() mpb.BarFiller { return mpb.BarFillerFunc(f) }

// Write shows whole lines above the bar; after Close, as they are.
func (t *Terminal) Write(lines []byte) (int, error) {
	n, err := t.container.Write(lines)
	if err != nil {
		return t.file.Write(lines)
	}
	return n, err
}

// Close takes the line away.
func (t *Terminal) Close() {
	t.bar.Abort(true)
	t.container.Wait()
}

// minBar is the least useful width of a bar, and wantedBar the one for which details give way.
const minBar, wantedBar = 8, 20

// layout returns the texts before and behind the bar for a terminal of so many columns.
func (l Line) layout(columns int) (left, right string) {
	left = l.Label + " "
	if width(left) > columns {
		return string([]rune(left)[:max(0, columns)]), ""
	}
	details := l.Details
	bar := 0
	if l.Total > 0 {
		details = append([]string{fmt.Sprintf("%3d %%", 100*min(l.Done, l.Total)/l.Total)}, details...)
		bar = wantedBar
	}
	for n := len(details); n > 0; n-- {
		right = " " + strings.Join(details[:n], "  ")
		if width(left)+bar+width(right) <= columns {
			return left, right
		}
		if n == 1 {
			break
		}
	}
	return left, ""
}

func width(s string) int { return utf8.RuneCountInString(s) }

// TrainingLine describes a run.
func TrainingLine(p contract.Progress) Line {
	l := Line{Label: labels[p.Phase], Done: p.Step, Total: p.Steps}
	if p.Steps == 0 {
		return l
	}
	l.Label = fmt.Sprintf("epoch %d/%d", min(p.Epoch+1, p.Epochs), p.Epochs)
	if text := labels[p.Phase]; p.Phase != contract.PhaseTraining {
		l.Label += " " + text
	}
	if p.ETASeconds > 0 && p.Step < p.Steps {
		l.Details = append(l.Details, "ETA "+eta(p.ETASeconds))
	}
	if p.Loss != nil {
		l.Details = append(l.Details, fmt.Sprintf("loss %.4f", *p.Loss))
	}
	if p.Accuracy != nil {
		l.Details = append(l.Details, fmt.Sprintf("accuracy %.2f %%", 100**p.Accuracy))
	}
	if p.ImagesPerSecond > 0 {
		l.Details = append(l.Details, fmt.Sprintf("%.0f images/s", p.ImagesPerSecond))
	}
	return l
}

var labels = map[contract.Phase]string{
	contract.PhaseLoading:    "reading the data",
	contract.PhaseTraining:   "training",
	contract.PhaseEvaluating: "testing",
	contract.PhaseSaving:     "saving",
	contract.PhaseDone:       "done",
}

// eta as m:ss or h:mm:ss.
func eta(seconds float64) string {
	d := time.Duration(min(seconds, 1e8)) * time.Second
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	if h > 0 {
		return fmt.Sprintf("%d:%02d:%02d", h, m, s)
	}
	return fmt.Sprintf("%d:%02d", m, s)
}

// CountLine describes a loop over total things.
func CountLine(label string, done, total int64, start, now time.Time) Line {
	l := Line{Label: label, Done: done, Total: total}
	if done > 0 && done < total {
		l.Details = []string{"ETA " + eta(cmp.Or(now.Sub(start), 1).Seconds()/float64(done)*float64(total-done))}
	}
	return l
}
