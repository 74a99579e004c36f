package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/eval"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

const evaluateHelp = `Test trained weights of a job on its test images: loss, accuracy, and how well each class is recognised.

The weights are those of the job's best checkpoint, of its latest one, of the one that is named, or of a file such as
model.safetensors. A job that is being trained is not disturbed. Nothing is written.`

func evaluateCommand() *cobra.Command {
	var job jobFlags
	var weights weightsFlag
	var output outputFlag
	var opts trainer.EvaluateOptions
	cmd := &cobra.Command{
		Use:   "evaluate -f job.yaml",
		Short: "Test trained weights",
		Long:  evaluateHelp,
		Example: `  trainer evaluate -f job.yaml
  trainer evaluate -f job.yaml --weights latest --flip-tta
  trainer evaluate -f job.yaml --weights model.safetensors --output json | jq .top1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := output.check(); err != nil {
				return err
			}
			if opts.Weights, err = weights.weights(); err != nil {
				return err
			}
			spec, err := job.load()
			if err != nil {
				return err
			}
			counter := newCounter("testing")
			opts.CacheDir, opts.Progress = job.cacheDir, counter.set
			_, closeLog := openLog(counter.line)
			e, err := trainer.Evaluate(cmd.Context(), spec, opts)
			closeLog()
			if err != nil {
				return err
			}
			result := evaluation{e, report.PerClass(e.Confusion, e.Classes)}
			return output.write(cmd.OutOrStdout(), result, result.table)
		},
	}
	job.add(cmd)
	weights.add(cmd, "best")
	output.add(cmd)
	cmd.Flags().BoolVar(&opts.Validation, "validation", false, "test on the held-out validation images instead")
	cmd.Flags().BoolVar(&opts.FlipTTA, "flip-tta", false, "also average over each image and its mirror image, whatever spec.training.evaluation.flipTTA says")
	return cmd
}

// evaluation is what the command prints.
type evaluation struct {
	*eval.Evaluation
	PerClass []report.Class `json:"perClass"`
}

func (e evaluation) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if e.Weights != "" {
		fmt.Fprintf(t, "weights\t%s\n", contract.Line(e.Weights))
	}
	fmt.Fprintf(t, "images\t%d\nloss\t%.4f\ntop-1\t%s\n", e.Images, e.Loss, report.Percent(e.Top1))
	if e.Top5 != nil {
		fmt.Fprintf(t, "top-5\t%s\n", report.Percent(*e.Top5))
	}
	if e.FlipTTA != nil {
		fmt.Fprintf(t, "top-1, flip TTA\t%s\n", report.Percent(*e.FlipTTA))
	}
	if err := t.Flush(); err != nil || len(e.PerClass) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "images\tcorrect\taccuracy\tprecision\tF1\t  class")
	for _, c := range e.PerClass {
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%.3f\t  %s\n", c.Images, c.Correct, report.Percent(c.Accuracy), report.Percent(c.Precision), c.F1, contract.Line(c.Name))
	}
	return t.Flush()
}
