package faults

import (
	"context"
	"io"
	"log"
)

type faultKey struct{}

func withFault(ctx context.Context, f fault) context.Context {
	return context.WithValue(ctx, faultKey{}, f)
}

var quiet = log.New(io.Discard, "", 0)
