package progress

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestLineFitsTheTerminal(t *testing.T) {
	line := TrainingLine(full())
	for columns := range 200 {
		left, right := line.layout(columns)
		if n := width(left) + width(right); n > columns {
			t.Errorf("%d columns are used of %d", n, columns)
		}
	}
	for columns, want := range map[int]string{
		10:  "epoch 4/20|",
		12:  "epoch 4/20 |",
		40:  "epoch 4/20 |  15 %",
		60:  "epoch 4/20 |  15 %  ETA 1:00  loss 0.5000",
		120: "epoch 4/20 |  15 %  ETA 1:00  loss 0.5000  accuracy 90.00 %  200 images/s",
	} {
		if left, right := line.layout(columns); left+"|"+right != want {
			t.Errorf("%d columns: %q, want %q", columns, left+"|"+right, want)
		}
	}
}

func TestETA(t *testing.T) {
	for seconds, want := range map[float64]string{0.4: "0:00", 59: "0:59", 61: "1:01", 3600 * 30: "30:00:00"} {
		if got := eta(seconds); got != want {
			t.Errorf("%g: %s, want %s", seconds, got, want)
		}
	}
	start := time.Unix(0, 0)
	if got := CountLine("testing", 25, 100, start, start.Add(10*time.Second)); got.Details[0] != "ETA 0:30" {
		t.Errorf("%v", got)
	}
}

func TestConsole(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewConsole(&out)).With("attempt", 2)
	log.Debug("not shown")
	log.Info("epoch 1/2 done", "loss", 0.5)
	log.Warn("metrics not saved")
	log.Error("gone", "error", os.ErrClosed)
	want := "epoch 1/2 done  attempt 2  loss 0.5\nwarning: metrics not saved  attempt 2\nerror: gone  attempt 2  error file already closed\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// A name of a file is not obeyed.
func TestConsoleShowsNothingThatATerminalObeys(t *testing.T) {
	var out bytes.Buffer
	slog.New(NewConsole(&out)).Warn("skipping \x1b[2J", "file", "a\nerror: b\u202e.png")
	if got, want := out.String(), "warning: skipping �[2J  file a error: b�.png\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTerminal runs this test again on a terminal of its own, which script makes.
func TestTerminal(t *testing.T) {
	const child = "PROGRESS_TEST_TERMINAL"
	if os.Getenv(child) != "" {
		if !IsTerminal(os.Stderr) {
			os.Stderr.WriteString("no terminal\n")
			return
		}
		terminal := NewTerminal(os.Stderr, func() Line { return Line{Label: "work", Done: 5, Total: 10} })
		time.Sleep(400 * time.Millisecond)
		os.Stderr.WriteString("^C") // as the terminal does
		terminal.Write([]byte("a line\n"))
		time.Sleep(400 * time.Millisecond)
		terminal.Close()
		terminal.Write([]byte("after the end\n"))
		return
	}
	run := func(env ...string) string {
		cmd := exec.Command("script", "-qec", "stty cols 60 rows 20; "+os.Args[0]+" -test.run '^TestTerminal$' >/dev/null", "/dev/null")
		cmd.Env = append(os.Environ(), append(env, child+"=1")...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	out := run("TERM=xterm")
	for _, want := range []string{"work [====", " 50 %", "a line", "after the end"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if strings.Contains(out, "\x1b[?25l") || strings.Contains(out, "\x1b[3") {
		t.Errorf("hides the cursor or uses colours: %q", out)
	}
	if !strings.Contains(out, "^C\r\x1b[1A\x1b[Ja line") {
		t.Errorf("what is typed spoils the line above: %q", out)
	}
	if last := out[strings.LastIndex(out, "\x1b[J"):]; strings.Contains(last, "work") {
		t.Errorf("the bar stays: %q", last)
	}
	if out := run("TERM=dumb"); !strings.Contains(out, "no terminal") {
		t.Errorf("a dumb terminal: %q", out)
	}
}
