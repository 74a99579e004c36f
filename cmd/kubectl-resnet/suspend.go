package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const suspendHelp = `Stop the pods of jobs. Each saves a checkpoint first, and kubectl resnet resume goes on from there, also days later:
nothing is lost, and nothing is used meanwhile but the room in the bucket.`

func newSuspend(p *plugin) *cobra.Command {
	return p.switchCommand("suspend", "suspended", "Stop jobs after a checkpoint", suspendHelp, true)
}

func newResume(p *plugin) *cobra.Command {
	return p.switchCommand("resume", "resumed", "Let suspended jobs go on", "Let suspended jobs go on from their checkpoints.", false)
}

// switchCommand sets spec.suspend.
func (p *plugin) switchCommand(name, done, short, long string, suspend bool) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:     name + " JOB...",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  kubectl resnet %s birds\n  kubectl resnet %[1]s birds tulips --wait", name),
	}
	p.manyJobs(cmd, 1)
	until := "until it runs"
	if suspend {
		until = "until it has saved and its pods are gone"
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return not before each job is there: "+until)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.forEachJob(cmd.Context(), args, func(c *cluster, job *v1.ResNetTrainingJob) error {
			switch {
			case ended(job):
				return fmt.Errorf("%s has %s: there is nothing to %s", job.Name, stateOf(job), name)
			case job.Spec.Suspend == suspend && suspend:
				fmt.Fprintf(p.Out, "%s is suspended already\n", job.Name)
			case job.Spec.Suspend == suspend:
				fmt.Fprintf(p.Out, "%s is not suspended: it is %s\n", job.Name, stateOf(job))
			default:
				if err := c.setSuspend(cmd.Context(), job, suspend); err != nil {
					return err
				}
				fmt.Fprintf(p.Out, "%s %s\n", job.Name, done)
			}
			if !wait {
				return nil
			}
			return p.waitForState(cmd.Context(), c, job, suspend)
		})
	}
	return cmd
}

func (c *cluster) setSuspend(ctx context.Context, job *v1.ResNetTrainingJob, suspend bool) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q},"spec":{"suspend":%t}}`, job.UID, suspend)
	return c.Patch(ctx, job, client.RawPatch(types.MergePatchType, []byte(patch)), fieldOwner)
}

// fieldOwner is under which name the plugin writes.
const fieldOwner = client.FieldOwner("kubectl-resnet")

// waitForState waits until a job is suspended, or runs again; it says what is waited for.
func (p *plugin) waitForState(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob, suspend bool) error {
	said := ""
	for {
		now, err := c.sameJob(ctx, job)
		if err != nil {
			return err
		}
		switch state := now.Status.State; {
		case suspend && state == v1.StateSuspended, !suspend && state == v1.StateRunning:
			return nil
		case ended(now):
			return fmt.Errorf("%s has %s meanwhile: %s", job.Name, state, message(now))
		}
		if text := fmt.Sprintf("%s is %s: %s", job.Name, stateOf(now), message(now)); text != said {
			fmt.Fprintln(p.ErrOut, text)
			said = text
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
