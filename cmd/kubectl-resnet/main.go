// Command kubectl-resnet is the plugin behind kubectl resnet: it follows ResNetTrainingJobs and brings their results home.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/klog/v2"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	quietLogs()
	streams := genericclioptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(execute(ctx, streams, os.Args[1:]))
}

// quietLogs of client-go: what matters comes back as an error.
func quietLogs() {
	klog.SetLogger(logr.Discard()) // another output would still let errors through to stderr
}

// execute runs the program and returns its exit code: 1 after an error, which is one line on ErrOut.
func execute(ctx context.Context, streams genericclioptions.IOStreams, args []string) int {
	root := newRoot(streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSaid):
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return 130 // as a shell has it after Ctrl-C
	default:
		fmt.Fprintln(streams.ErrOut, "error:", contract.Line(explain(err)))
	}
	return 1
}

// errSaid ends the program with exit code 1 when everything has been said.
var errSaid = errors.New("")

const rootHelp = `Follow ResNetTrainingJobs, steer them, and bring their results home.

The cluster is that of kubectl: KUBECONFIG, --kubeconfig, --context and --namespace mean the same. Buckets are read
with the account in the job's Secret if you may read that, else with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the
environment; a server inside of the cluster is reached through a port-forward.`

func newRoot(streams genericclioptions.IOStreams) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-resnet",
		Short:         "ResNetTrainingJobs: from a folder of photographs to a trained model",
		Long:          rootHelp,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl resnet"},
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	p := &plugin{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true)}
	p.flags.AddFlags(root.PersistentFlags())
	if err := root.RegisterFlagCompletionFunc("namespace", p.completeNamespaces); err != nil {
		panic(err) // no such flag
	}
	root.AddCommand(
		newList(p), newDescribe(p), newWatch(p), newLogs(p),
		newSuspend(p), newResume(p), newRetry(p), newCreate(p),
		newReport(p), newGetModel(p), newCompare(p), newCheck(p), newInit(p), newPredict(p),
	)
	return root
}
