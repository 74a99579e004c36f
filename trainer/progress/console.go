package progress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// console is a slog.Handler for people who look on: no times, no quotes, two spaces between numbers.
type console struct {
	w     io.Writer
	mu    *sync.Mutex
	attrs []slog.Attr
}

// NewConsole returns a handler that writes a line for each record of at least the level Info.
func NewConsole(w io.Writer) slog.Handler { return &console{w: w, mu: new(sync.Mutex)} }

// Enabled implements slog.Handler.
func (c *console) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (c *console) Handle(_ context.Context, r slog.Record) error {
	var line bytes.Buffer
	switch {
	case r.Level >= slog.LevelError:
		line.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		line.WriteString("warning: ")
	}
	line.WriteString(r.Message)
	write := func(a slog.Attr) bool {
		fmt.Fprintf(&line, "  %s %v", a.Key, a.Value)
		return true
	}
	for _, a := range c.attrs {
		write(a)
	}
	r.Attrs(write)
	text := strings.ReplaceAll(contract.Printable(line.String()), "\n", " ") + "\n"
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.w, text)
	return err
}

// WithAttrs implements slog.Handler.
func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &console{c.w, c.mu, append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)}
}

// WithGroup implements slog.Handler. Groups are not shown.
func (c *console) WithGroup(string) slog.Handler { return c }
