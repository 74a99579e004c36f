package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// waitForJob is `manager wait`, by which `helm test` follows its job: the manager's image has neither shell nor
// kubectl.
func waitForJob(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("manager wait", flag.ContinueOnError)
	f.SetOutput(io.Discard) // an error is one line
	namespace := f.String("namespace", metav1.NamespaceDefault, "namespace of the job")
	timeout := f.Duration("timeout", 5*time.Minute, "how long to wait for the end of the job")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "manager wait [flags] JOB waits for the end of a job, and says what happens until then.")
		f.SetOutput(out)
		f.PrintDefaults()
		return nil
	case err != nil:
		return fmt.Errorf("manager wait: %w", err)
	case f.NArg() != 1:
		return fmt.Errorf("manager wait: want the name of one job behind the flags, got %q", f.Args())
	case *timeout <= 0:
		return fmt.Errorf("manager wait: --timeout is %s: it must be more than 0s", *timeout)
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no cluster to ask: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return followJob(ctx, c, client.ObjectKey{Namespace: *namespace, Name: f.Arg(0)}, time.Second, out)
}

// followJob prints what changes about a job until its end, which is an error unless it has succeeded.
func followJob(ctx context.Context, c client.Reader, key client.ObjectKey, interval time.Duration, out io.Writer,
) error {
	said := "no manager has taken the job up"
	for {
		job := &v1.ResNetTrainingJob{}
		err := c.Get(ctx, key, job)
		switch {
		case ctx.Err() != nil: // told below
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err), meta.IsNoMatchError(err):
			return fmt.Errorf("job %s: %w", key, err)
		case err != nil:
			fmt.Fprintf(out, "%s: the API server did not answer, and is asked again: %v\n", key, err)
		case job.Status.State != "":
			if now := whereItStands(job); now != said {
				fmt.Fprintf(out, "%s: %s\n", key, now)
				said = now
			}
			switch job.Status.State {
			case v1.StateSucceeded:
				return nil
			case v1.StateFailed:
				return fmt.Errorf("job %s: %s", key, said)
			}
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("job %s has not ended in time: %s", key, said)
			}
			return ctx.Err()
		}
	}
}

// whereItStands is the state of a job, with the condition that explains it.
func whereItStands(job *v1.ResNetTrainingJob) string {
	text := string(job.Status.State)
	if c := job.Status.Explanation(); c != nil {
		return text + ", " + c.Reason + ": " + contract.Line(c.Message)
	}
	return text
}

// runWait is the subcommand; it returns its exit code.
func runWait(args []string) int {
	if err := waitForJob(ctrl.SetupSignalHandler(), args, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}
