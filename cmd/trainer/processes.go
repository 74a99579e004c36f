package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

const maxProcesses = 64

// rankSettings is what the other processes of --processes read from standard input.
type rankSettings struct {
	Job      *v1.ResNetTrainingJob
	Attempt  int32
	CacheDir string
}

// trainTogether trains in n processes on this machine. This one is rank 0 and starts the others; they share its
// processors.
func trainTogether(ctx context.Context, n int, job *v1.ResNetTrainingJob, opts trainer.Options) (
	*contract.Artifacts, error) {
	if n < 1 || n > maxProcesses {
		return nil, exit.Errorf(contract.ExitConfig, "--processes is %d: it must be from 1 to %d", n, maxProcesses)
	}
	if n == 1 {
		return trainer.Run(ctx, job, opts)
	}
	settings, err := json.Marshal(rankSettings{job, opts.Attempt, opts.CacheDir})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("--processes: %w", err)
	}
	threads := max(1, libtorch.Threads()/n)
	libtorch.SetThreads(threads)
	local, err := group.StartLocal(n, func() *exec.Cmd {
		cmd := exec.Command(self, "train")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(settings), os.Stderr
		cmd.Env = append(os.Environ(), fmt.Sprintf("OMP_NUM_THREADS=%d", threads))
		return cmd
	})
	if err != nil {
		return nil, fmt.Errorf("--processes: %w", err)
	}
	artifacts, err := join(ctx, local.Place, job, opts)
	return artifacts, local.Wait(err)
}

// join trains as one of several processes.
func join(ctx context.Context, place group.Place, job *v1.ResNetTrainingJob, opts trainer.Options) (
	_ *contract.Artifacts, err error) {
	if opts.Group, err = group.Join(ctx, place); err != nil {
		opts.Group.Close(ctx, err)
		return nil, err
	}
	return trainer.Run(ctx, job, opts)
}

// trainRank trains as one of the processes that trainTogether has started. Its errors are told by rank 0.
func trainRank(ctx context.Context, place group.Place) error {
	var s rankSettings
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return err
	}
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
	_, err := join(ctx, place, s.Job, trainer.Options{Attempt: s.Attempt, CacheDir: s.CacheDir, Handler: handler})
	return err
}
