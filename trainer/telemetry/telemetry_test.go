package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

func TestWaitTellsTheOldest(t *testing.T) {
	var now *contract.Waiting
	ctx := NewContext(t.Context(), nil, func(w *contract.Waiting) { now = w })
	want := func(text string) {
		t.Helper()
		switch {
		case text == "" && now != nil:
			t.Errorf("waits for %s", now.For)
		case text != "" && (now == nil || now.For != text || now.Since.IsZero()):
			t.Errorf("got %+v, want %s", now, text)
		}
	}
	first, second := Wait(ctx, time.Now(), "S3"), Wait(ctx, time.Now(), "the data")
	want("S3")
	first()
	first()
	want("the data")
	second()
	want("")
}

func TestLog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	Log(context.WithoutCancel(NewContext(t.Context(), log, nil))).Warn("careful")
	if !strings.Contains(b.String(), "careful") {
		t.Errorf("log %q", b.String())
	}
	if Log(t.Context()) != slog.Default() {
		t.Error("without a run it is not the default log")
	}
	Wait(t.Context(), time.Now(), "S3")() // tells nobody
}
