package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/report"
)

const findLRHelp = `Find a learning rate for a job: train a fresh network for some steps while the learning rate rises exponentially, and
watch the loss (the learning rate range test of Smith, https://arxiv.org/abs/1506.01186).

The suggestion is where the loss falls most steeply. It is a good peak for spec.training.schedule.maxLR of OneCycle, and
for spec.training.optimizer.lr of the other schedules. Nothing is written but the plot.`

func findLRCommand() *cobra.Command {
	var job jobFlags
	var output outputFlag
	var opts trainer.FindLROptions
	var out string
	cmd := &cobra.Command{
		Use:   "find-lr -f job.yaml",
		Short: "Find a learning rate",
		Long:  findLRHelp,
		Example: `  trainer find-lr -f job.yaml
  trainer find-lr -f job.yaml --min 1e-5 --max 1 --steps 200 --out lr.png
  trainer find-lr -f job.yaml --set training.optimizer.type=SGD --output json | jq .suggestion`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(); err != nil {
				return err
			}
			if err := checkPlotFile(out); err != nil {
				return err
			}
			spec, err := job.load()
			if err != nil {
				return err
			}
			counter := newCounter("range test")
			opts.CacheDir = job.cacheDir
			opts.Progress = func(p trainer.LRPoint, steps int) { counter.set(p.Step, steps) }
			_, closeLog := openLog(counter.line)
			result, err := trainer.FindLR(cmd.Context(), spec, opts)
			closeLog()
			if err != nil {
				return err
			}
			if err := writeLRPlot(out, result); err != nil {
				return err
			}
			return output.write(cmd.OutOrStdout(), result, func(w io.Writer) error { return lrTable(w, spec, result) })
		},
	}
	job.add(cmd)
	output.add(cmd)
	cmd.Flags().Float64Var(&opts.MinLR, "min", 1e-7, "first learning rate")
	cmd.Flags().Float64Var(&opts.MaxLR, "max", 10, "last learning rate")
	cmd.Flags().IntVar(&opts.Steps, "steps", 100, "number of steps")
	cmd.Flags().StringVar(&out, "out", "", "file for a plot of the losses: .png or .svg")
	cmd.MarkFlagFilename("out", "png", "svg")
	return cmd
}

// checkPlotFile finds out before the work whether the plot could be written. "" is no plot.
func checkPlotFile(path string) error {
	if path == "" {
		return nil
	}
	if ext := strings.ToLower(filepath.Ext(path)); ext != ".png" && ext != ".svg" {
		return exit.Errorf(contract.ExitConfig, "--out is %q: the name must end in .png or .svg", path)
	}
	_, err := os.Stat(path)
	isNew := os.IsNotExist(err)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return exit.Errorf(contract.ExitConfig, "--out: %w", err)
	}
	if isNew {
		os.Remove(path)
	}
	return f.Close()
}

func writeLRPlot(path string, result *trainer.LRRange) error {
	if path == "" {
		return nil
	}
	points := make([]report.LRPoint, len(result.Points))
	for i, p := range result.Points {
		points[i] = report.LRPoint{LR: p.LR, Loss: p.Loss, Smoothed: p.Smoothed}
	}
	picture := report.LRPicture(points, result.Suggestion)
	encode := picture.PNG
	if strings.EqualFold(filepath.Ext(path), ".svg") {
		encode = picture.SVG
	}
	data, err := encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return exit.Errorf(contract.ExitConfig, "--out: %w", err)
	}
	return nil
}

// lrTable shows about twenty of the steps, the loss as a bar too.
func lrTable(w io.Writer, job *v1.ResNetTrainingJob, result *trainer.LRRange) error {
	const rows, width = 20, 30
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "lr\tsmoothed loss\t")
	first := 0.0
	if len(result.Points) > 0 {
		first = result.Points[0].Smoothed
	}
	every := max(1, (len(result.Points)+rows-1)/rows)
	for i := 0; i < len(result.Points); i += every {
		p := result.Points[i]
		bar := int(math.Round(width / 2 * p.Smoothed / max(first, 1e-9))) // the first loss takes half of the width
		fmt.Fprintf(t, "%.2e\t%.4f\t%s\n", p.LR, p.Smoothed, strings.Repeat("#", min(max(bar, 0), width)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if result.Diverged {
		fmt.Fprintf(w, "\nThe loss exploded after %d steps, as it should.\n", len(result.Points))
	}
	if result.Suggestion == 0 {
		_, err := fmt.Fprintln(w, "\nNo suggestion: the loss never falls. Try more --steps, or another --min and --max.")
		return err
	}
	field := "training.optimizer.lr"
	if job.Spec.Training.Schedule.Type == v1.OneCycle {
		field = "training.schedule.maxLR"
	}
	_, err := fmt.Fprintf(w, "\nSuggestion: %.2g, where the loss falls most steeply. To use it: --set %s=%.2g\n", result.Suggestion, field, result.Suggestion)
	return err
}
