package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

const trainHelp = `Train the network of a ResNetTrainingJob, test it after every epoch, and save it.

Results go to spec.storage.uri, below <namespace>/<name>/<uid>/ (locally the uid is "local"):

  report/report.html   a page with the results, curves and confusion matrix; report.json for programs
  model/               the trained model
  metrics/a<attempt>/  metrics.jsonl, metrics.csv, steps.jsonl and TensorBoard events, after every epoch
  checkpoints/         to go on from
  logs/                the log

A run that was interrupted goes on from its newest checkpoint when the same command is given again. Ctrl-C or SIGTERM
saves first; a second Ctrl-C does not. To try a job shortened, change fields with --set, and its name so that it gets a
folder of its own.

Exit codes: 0 done, 1 unexpected error, 64 wrong configuration, 65 wrong data, 69 storage unreachable, 70 the training
diverged, 74 a newer attempt took over, 75 stopped after saving, 76 another of several processes was lost.`

func trainCommand() *cobra.Command {
	var job jobFlags
	var serve string
	var together groupFlags
	cmd := &cobra.Command{
		Use:   "train -f job.yaml",
		Short: "Train, test and save",
		Long:  trainHelp,
		Example: `  trainer train -f job.yaml
  trainer train -f job.yaml --set metadata.name=try --set training.epochs=1 --set dataset.maxTrainImages=5000
  trainer train -f job.yaml --processes 2
  trainer train -f job.yaml --nnodes 2 --node-rank 0   # on one machine, and --node-rank 1 on another
  trainer train -f job.yaml --serve localhost:8080   # then: curl localhost:8080/progress`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if place, err := group.FromEnvironment(); place != nil || err != nil {
				if err == nil {
					os.Exit(int(exit.Code(trainRank(cmd.Context(), place))))
				}
				return err
			}
			tracker := progress.NewTracker(contract.Progress{Phase: contract.PhaseLoading, StartTime: time.Now()})
			artifacts, err := train(cmd, &job, serve, &together, tracker)
			writeTermination(cmd.Context(), err, tracker, artifacts)
			if err == nil && artifacts != nil && artifacts.Report != "" && progress.IsTerminal(os.Stderr) {
				fmt.Fprintln(cmd.ErrOrStderr(), "report:", contract.Printable(artifacts.Report))
			}
			return err
		},
	}
	job.add(cmd)
	cmd.Flags().StringVar(&serve, "serve", "", "address on which to serve /progress, /history, /metrics, /readyz and /healthz")
	together.add(cmd)
	return cmd
}

func train(cmd *cobra.Command, flags *jobFlags, serve string, together *groupFlags, tracker *progress.Tracker) (
	*contract.Artifacts, error) {
	ctx := cmd.Context()
	if err := together.check(cmd); err != nil {
		return nil, err
	}
	job, err := flags.load()
	if err != nil {
		return nil, err
	}
	if err := together.follow(cmd, job.Spec); err != nil {
		return nil, err
	}
	attempt, err := attemptFromEnv()
	if err != nil {
		return nil, err
	}
	tracker.Update(func(p *contract.Progress) { p.UID, p.Attempt = string(job.UID), attempt }) // the manager listens from now on
	if err := serveProgress(serve, tracker); err != nil {
		return nil, err
	}
	log, closeLog := openLog(func() progress.Line {
		if together.nodeRank > 0 {
			return progress.Line{Label: fmt.Sprintf("node %d of %d; node 0 tells of the training", together.nodeRank, together.nodes)}
		}
		return progress.TrainingLine(tracker.Snapshot())
	})
	defer closeLog()
	defer context.AfterFunc(ctx, func() {
		slog.Info("interrupted: saving after this step; once more to stop at once")
	})()
	return trainTogether(ctx, together, job, trainer.Options{Attempt: attempt, CacheDir: flags.cacheDir, Handler: log,
		Progress: tracker})
}

// attemptFromEnv is the attempt that the manager gave the pod; 0, the next one, on a laptop.
func attemptFromEnv() (int32, error) {
	value, ok := os.LookupEnv(contract.EnvAttempt)
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 1 {
		return 0, exit.Errorf(contract.ExitConfig, "%s is %q, it must be a number from 1", contract.EnvAttempt, value)
	}
	return int32(n), nil
}
