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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := execute(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
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

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "trainer",
		Short:         "Train a ResNet as a ResNetTrainingJob says",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(trainCommand(), exportCommand(), versionCommand())
	return root
}
