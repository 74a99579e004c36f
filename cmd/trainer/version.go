package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print versions and what the trainer computes with",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, "trainer:", version.String())
			fmt.Fprintln(out, "libtorch:", libtorch.Version())
			fmt.Fprintln(out, "threads:", libtorch.Threads())
			fmt.Fprintln(out, "cuda:", libtorch.CUDAAvailable())
			fmt.Fprintln(out, "bf16:", libtorch.FastBF16(libtorch.CPU))
			fmt.Fprint(out, libtorch.Config())
		},
	}
}
