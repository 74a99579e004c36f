package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

const retryHelp = `Go on with a job that failed. What has failed stays as it is: a new job takes its place, with the same spec, which
begins with the newest checkpoint of the old one. Name the changes that make it succeed by --set.

A change of the model, the data set or the recipe makes another training, which cannot go on in the middle of the
old one: it begins with the old weights (--weights-only) or from scratch (--from-scratch).`

func newRetry(p *plugin) *cobra.Command {
	var name string
	var assignments []string
	var scratch, weightsOnly bool
	var o createOptions
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Go on with a failed job in a new one",
		Long:  retryHelp,
		Example: `  kubectl resnet retry roses --set resources.memory=8Gi
  kubectl resnet retry roses --from-scratch --set training.optimizer.lr=0.01
  kubectl resnet retry roses --dry-run -o yaml`,
	}
	p.oneJob(cmd)
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "name of the new job (default the old one with the next number behind it)")
	flags.StringArrayVar(&assignments, "set", nil, "change a field, as resources.memory=8Gi; may be given several times")
	flags.BoolVar(&scratch, "from-scratch", false, "begin with the first step")
	flags.BoolVar(&weightsOnly, "weights-only", false, "begin with the first step, but with the weights of the newest checkpoint")
	cmd.MarkFlagsMutuallyExclusive("from-scratch", "weights-only")
	o.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		old, err := c.job(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if old.Status.State != v1.StateFailed {
			return fmt.Errorf("%s is %s: only a job that failed is retried%s", old.Name, stateOf(old), insteadOfRetry(old))
		}
		if name == "" {
			if name, err = c.nextName(cmd.Context(), old); err != nil {
				return err
			}
		}
		job, err := successor(old, name, assignments, scratch, weightsOnly)
		if err != nil {
			return err
		}
		return p.create(cmd.Context(), c, job, o)
	}
	return cmd
}

func insteadOfRetry(job *v1.ResNetTrainingJob) string {
	switch {
	case job.Spec.Suspend:
		return "; kubectl resnet resume " + job.Name + " lets it go on"
	case job.Status.State == v1.StateSucceeded:
		return "; kubectl resnet create trains another one"
	}
	return "; the operator goes on with it by itself"
}

// successor is the job that goes on for one that failed.
func successor(old *v1.ResNetTrainingJob, name string, assignments []string, scratch, weightsOnly bool) (*v1.ResNetTrainingJob, error) {
	job := &v1.ResNetTrainingJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1.GroupVersion.String(), Kind: v1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: old.Namespace, Labels: old.Labels},
		Spec:       *old.Spec.DeepCopy(),
	}
	job.Spec.Suspend = false
	switch checkpointed := old.Status.Checkpoint != nil; {
	case scratch:
		job.Spec.ResumeFrom = nil
	case checkpointed:
		job.Spec.ResumeFrom = &v1.ResumeFromSpec{URI: old.Status.Checkpoint.URI, WeightsOnly: weightsOnly}
	case weightsOnly:
		return nil, fmt.Errorf("%s left no checkpoint: leave --weights-only out", old.Name)
	}
	data, err := yaml.Marshal(job)
	if err != nil {
		return nil, err
	}
	if job, err = manifest.Parse(data, assignments...); err != nil {
		return nil, err
	}
	if job.Spec.ResumeFrom == nil || job.Spec.ResumeFrom.WeightsOnly || old.Status.Checkpoint == nil {
		return job, nil
	}
	diffs, err := checkpoint.SpecDifferences(&old.Spec, &job.Spec)
	if err == nil && diffs != "" {
		err = fmt.Errorf("%s, so that it is another training: add --weights-only or --from-scratch", diffs)
	}
	return job, err
}

var numbered = regexp.MustCompile(`^(.*)-([0-9]{1,6})$`)

// nextName is free: flowers-2 after flowers, flowers-3 after flowers-2.
func (c *cluster) nextName(ctx context.Context, old *v1.ResNetTrainingJob) (string, error) {
	stem, n := old.Name, 1
	if m := numbered.FindStringSubmatch(old.Name); m != nil {
		stem = m[1]
		n, _ = strconv.Atoi(m[2])
	}
	for {
		n++
		suffix := fmt.Sprintf("-%d", n)
		name := stem[:min(len(stem), maxName-len(suffix))] + suffix
		taken, err := c.exists(ctx, old.Namespace, name)
		if err != nil || !taken {
			return name, err
		}
	}
}

// maxName is the length of the longest name of a job.
const maxName = 50
