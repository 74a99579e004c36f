package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

const logsHelp = `Print the log of a job: that of its present attempt, or of the last one.

It comes from the pod, or from the job's storage when the pod is gone. With --follow it goes on with the attempts that
come after, until the job has ended.`

// logsOptions are the flags.
type logsOptions struct {
	follow, all, timestamps bool
	attempt                 int32
	tail                    int64
}

func newLogs(p *plugin) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print the log of a job, over all its attempts",
		Long:  logsHelp,
		Example: `  kubectl resnet logs flowers -f
  kubectl resnet logs flowers --all
  kubectl resnet logs flowers --attempt 2 --tail 50`,
	}
	p.oneJob(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on until the job has ended")
	flags.BoolVar(&o.all, "all", false, "begin with the first attempt")
	flags.Int32Var(&o.attempt, "attempt", 0, "number of the attempt, from 1 (default the last one)")
	flags.Int64Var(&o.tail, "tail", -1, "only so many of the last lines of the first log that is printed; -1 is all")
	flags.BoolVar(&o.timestamps, "timestamps", false, "put the time before each line of a pod")
	cmd.MarkFlagsMutuallyExclusive("all", "attempt")
	cmd.MarkFlagsMutuallyExclusive("follow", "attempt")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.attempt < 0 || cmd.Flags().Changed("attempt") && o.attempt == 0 {
			return fmt.Errorf("--attempt is %d: attempts count from 1", o.attempt)
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		job, err := c.job(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return p.logs(cmd.Context(), c, job, o)
	}
	return cmd
}

// pollEvery is the time between two looks at a job that is waited for.
const pollEvery = time.Second

func (p *plugin) logs(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob, o logsOptions) error {
	if o.attempt > job.Status.Attempt {
		return fmt.Errorf("there is no attempt %d of %s: it has made %d", o.attempt, job.Name, job.Status.Attempt)
	}
	first := max(1, job.Status.Attempt)
	last := first
	switch {
	case o.all:
		first = 1
	case o.attempt > 0:
		first, last = o.attempt, o.attempt
	}
	if o.follow {
		return p.followLogs(ctx, c, job, first, o)
	}
	for attempt := first; attempt <= last; attempt++ {
		found, err := p.attemptLog(ctx, c, job, attempt, o)
		switch {
		case err != nil:
			return err
		case !found && attempt == job.Status.Attempt && !ended(job) || job.Status.Attempt == 0:
			return fmt.Errorf("attempt %d of %s has no log yet: the job is %s; -f waits for it", attempt, job.Name, stateOf(job))
		case !found && o.all:
			fmt.Fprintln(p.ErrOut, lostLog(job, attempt))
		case !found:
			return errors.New(lostLog(job, attempt))
		}
	}
	return nil
}

func lostLog(job *v1.ResNetTrainingJob, attempt int32) string {
	return fmt.Sprintf("the log of attempt %d of %s is lost: its pod is gone, and %slogs/ has none (it died without a word, or spec.keepLogs is false)",
		attempt, job.Name, folderURI(job))
}

// followLogs prints the logs of attempts, from the first on, as they come.
func (p *plugin) followLogs(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob, attempt int32, o logsOptions) error {
	said := ""
	say := func(text string) {
		if text != said {
			fmt.Fprintln(p.ErrOut, text)
		}
		said = text
	}
	printed := int32(0) // the last attempt whose log is through
	for {
		over := ended(job) || attempt < job.Status.Attempt
		if attempt <= job.Status.Attempt && printed < attempt {
			found, err := p.attemptLog(ctx, c, job, attempt, o)
			if err != nil {
				return err
			}
			if found {
				printed, o.tail = attempt, -1
			} else if over {
				say(lostLog(job, attempt))
				printed = attempt
			}
		}
		switch {
		case over && ended(job) && attempt >= job.Status.Attempt:
			say(fmt.Sprintf("the job has %s: %s", stateOf(job), contract.Line(message(job))))
			return nil
		case attempt < job.Status.Attempt && printed >= attempt:
			attempt++
			say(fmt.Sprintf("attempt %d:", attempt))
			continue
		case printed < attempt || job.Status.State != v1.StateRunning:
			say(fmt.Sprintf("waiting: the job is %s", stateOf(job)))
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := c.sameJob(ctx, job)
		if err != nil {
			return err
		}
		job = now
	}
}

func stateOf(job *v1.ResNetTrainingJob) string {
	if job.Status.State == "" {
		return "not seen by the operator yet"
	}
	return string(job.Status.State)
}

func ended(job *v1.ResNetTrainingJob) bool {
	return job.Status.State == v1.StateSucceeded || job.Status.State == v1.StateFailed
}

// attemptLog prints the log of an attempt; found is false if there is none.
func (p *plugin) attemptLog(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob, attempt int32, o logsOptions) (found bool, err error) {
	pods, err := c.pods(ctx, job)
	if err != nil {
		return false, err
	}
	if pod := recorder(pods, attempt); pod != nil && hasRun(pod) {
		err := p.podLog(ctx, c, pod, o)
		if !apierrors.IsNotFound(err) {
			return true, err
		}
	}
	if attempt == job.Status.Attempt && !ended(job) {
		return false, nil // its log is not there yet
	}
	r, err := c.results(ctx, job)
	if err != nil {
		return false, fmt.Errorf("the pod of attempt %d is gone, and its log in the storage cannot be read: %s", attempt, explain(err))
	}
	defer r.Close()
	data, err := r.read(ctx, contract.LogKey(attempt))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		_, err = p.Out.Write(lastLines(data, o.tail))
	}
	return true, err
}

func (p *plugin) podLog(ctx context.Context, c *cluster, pod *corev1.Pod, o logsOptions) error {
	options := &corev1.PodLogOptions{Container: childjob.ContainerName, Follow: o.follow, Timestamps: o.timestamps}
	if o.tail >= 0 {
		options.TailLines = &o.tail
	}
	stream, err := c.core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	_, err = io.Copy(p.Out, stream)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// lastLines of a text; all if n is negative.
func lastLines(text []byte, n int64) []byte {
	if n < 0 {
		return text
	}
	if n == 0 {
		return nil
	}
	end := len(text)
	if end > 0 && text[end-1] == '\n' {
		end--
	}
	for i := end - 1; i >= 0; i-- {
		if text[i] == '\n' {
			if n--; n == 0 {
				return text[i+1:]
			}
		}
	}
	return text
}
