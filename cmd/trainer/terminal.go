package main

import (
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

// openLog chooses how the log is shown: on a terminal as short lines above a bar that shows what line returns,
// elsewhere as text with times. It becomes the default log too. closeLog takes the bar away.
func openLog(line func() progress.Line) (handler slog.Handler, closeLog func()) {
	previous := slog.Default()
	closeLog = func() { slog.SetDefault(previous) }
	if progress.IsTerminal(os.Stderr) {
		t := progress.NewTerminal(os.Stderr, line)
		handler = progress.NewConsole(t)
		closeLog = func() { t.Close(); slog.SetDefault(previous) }
	} else {
		handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	slog.SetDefault(slog.New(handler))
	return handler, closeLog
}

// counter counts what a command has done, for its bar.
type counter struct {
	label       string
	start       time.Time
	done, total atomic.Int64
}

func newCounter(label string) *counter { return &counter{label: label, start: time.Now()} }

func (c *counter) set(done, total int) {
	c.total.Store(int64(total))
	c.done.Store(int64(done))
}

func (c *counter) line() progress.Line {
	return progress.CountLine(c.label, c.done.Load(), c.total.Load(), c.start, time.Now())
}
