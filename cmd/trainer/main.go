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
	err := rootCommand().ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	os.Exit(int(exit.Code(err)))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "trainer",
		Short:         "Train a ResNet as a ResNetTrainingJob says",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit.Errorf(contract.ExitConfig, "%w", err) })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(trainCommand(), versionCommand())
	return root
}
