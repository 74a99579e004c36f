// Command trainer trains, tests and saves the network of a ResNetTrainingJob.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := execute(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", contract.Printable(err.Error()))
	}
	os.Exit(int(exit.Code(err)))
}

// execute runs the program. A command line that it does not understand is a wrong configuration.
func execute(ctx context.Context, args []string) error {
	root := rootCommand()
	understood := false
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !understood {
		return exit.Errorf(contract.ExitConfig, "%w; see trainer --help", err)
	}
	return err
}

const rootHelp = `Train a ResNet on images, without Python: the program that runs in the pods of resnet-operator, and on a laptop.

A job is described by a ResNetTrainingJob, the same file that one would apply to a cluster:

  apiVersion: training.resnet-operator.dev/v1
  kind: ResNetTrainingJob
  metadata: {name: first}
  spec:
    dataset: {format: Synthetic}          # needs no files; or CIFAR10, FashionMNIST, ImageFolder, ... with a uri
    training: {epochs: 2}
    storage: {uri: "file:///tmp/models"}  # or s3://bucket/prefix

Credentials for s3:// come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or from the service
account. OMP_NUM_THREADS sets the number of threads.`

const rootExample = `  trainer train -f job.yaml
  trainer evaluate -f job.yaml
  trainer predict -f job.yaml cat.jpg`

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "trainer",
		Short:         "Train a ResNet as a ResNetTrainingJob says",
		Long:          rootHelp,
		Example:       rootExample,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(initCommand(), validateCommand(), trainCommand(), evaluateCommand(), predictCommand(), findLRCommand(), exportCommand(), versionCommand(),
		serveFolderCommand())
	return root
}
