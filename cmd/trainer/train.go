package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/api/manifest"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

const trainHelp = `Train the network of a ResNetTrainingJob: the file that one would apply to a cluster, YAML or JSON.

Results go to spec.storage.uri, below <namespace>/<name>/<uid>/: a checkpoint and a line of metrics for every epoch, the
log, and at the end model/model.safetensors. A run that was interrupted goes on from its newest checkpoint when the
same command is given again. Ctrl-C or SIGTERM saves first.

Credentials for s3:// come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or from the service
account. OMP_NUM_THREADS sets the number of threads.

Exit codes: 0 done, 1 unexpected error, 64 wrong configuration, 65 wrong data, 69 storage unreachable, 70 the training
diverged, 74 a newer attempt took over, 75 stopped after saving.`

func trainCommand() *cobra.Command {
	var file, cacheDir, serve string
	cmd := &cobra.Command{
		Use:     "train -f job.yaml",
		Short:   "Train, test and save",
		Long:    trainHelp,
		Example: "  trainer train -f job.yaml\n  trainer train -f job.yaml --serve localhost:8080   # then: curl localhost:8080/progress",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tracker := progress.NewTracker(contract.Progress{Phase: contract.PhaseLoading, StartTime: time.Now()})
			artifacts, err := train(cmd.Context(), file, cacheDir, serve, tracker)
			writeTermination(err, tracker, artifacts)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", `file with a ResNetTrainingJob; "-" is standard input`)
	cmd.Flags().StringVar(&cacheDir, "cache-dir", "", "folder that keeps data sets read from a bucket")
	cmd.Flags().StringVar(&serve, "serve", "", "address on which to serve /progress, /metrics, /readyz and /healthz")
	return cmd
}

func train(ctx context.Context, file, cacheDir, serve string, tracker *progress.Tracker) (*contract.Artifacts, error) {
	if file == "" {
		return nil, exit.Errorf(contract.ExitConfig, "--file is required: a ResNetTrainingJob as YAML or JSON")
	}
	job, err := manifest.Load(file)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "%w", err)
	}
	if job.Namespace == "" {
		job.Namespace = "default"
	}
	if job.UID == "" {
		job.UID = "local"
	}
	attempt, err := attemptFromEnv()
	if err != nil {
		return nil, err
	}
	if err := serveProgress(serve, tracker); err != nil {
		return nil, err
	}
	return trainer.Run(ctx, job, trainer.Options{Attempt: attempt, CacheDir: cacheDir, Log: os.Stderr, Progress: tracker})
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
