package main

import (
	"context"
	"net"
	"net/http"
	"os"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

// serveProgress serves at address until the process ends; "" serves nothing.
func serveProgress(address string, tracker *progress.Tracker) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return exit.Errorf(contract.ExitConfig, "--serve: %w", err)
	}
	go http.Serve(listener, tracker.Handler())
	return nil
}

// writeTermination leaves the last word where the kubelet looks for it; outside of a pod there is no such file.
func writeTermination(ctx context.Context, err error, tracker *progress.Tracker, artifacts *contract.Artifacts) {
	file, openErr := os.OpenFile(contract.TerminationFile, os.O_WRONLY|os.O_TRUNC, 0)
	if openErr != nil {
		return
	}
	defer file.Close()
	t := contract.Termination{
		ExitCode: exit.Code(err), Interrupted: ctx.Err() != nil, Progress: new(tracker.Snapshot()), Artifacts: artifacts,
	}
	if err != nil {
		t.Message = contract.Line(err.Error())
	}
	file.Write(t.Marshal())
}
