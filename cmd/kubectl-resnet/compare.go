package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

const compareHelp = `Compare jobs: the fields of model, data and recipe in which they differ, what they reached, and one chart of their
accuracies. The curves come from the jobs' storage; without them the table has what the status says.`

// compared is one job beside others.
type compared struct {
	Job string `json:"job"`
	// Fields are those in which the jobs differ, by their path below spec.
	Fields map[string]json.RawMessage `json:"fields"`
	State  string                     `json:"state"`
	Epochs int                        `json:"epochs"`
	// BestAccuracy is the highest test accuracy, in [0, 1]; TestLoss that of the last epoch.
	BestAccuracy    *float64 `json:"bestAccuracy,omitempty"`
	TestLoss        *float64 `json:"testLoss,omitempty"`
	Seconds         float64  `json:"seconds,omitempty"`
	ImagesPerSecond float64  `json:"imagesPerSecond,omitempty"`

	history *contract.History
}

func newCompare(p *plugin) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "compare JOB JOB...",
		Short: "Compare recipes and results of jobs",
		Long:  compareHelp,
		Example: `  kubectl resnet compare flowers flowers-2
  kubectl resnet compare flowers flowers-2 flowers-3 -o json`,
	}
	p.manyJobs(cmd, 2)
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(output); err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		var all []*compared
		for _, name := range args {
			job, err := c.job(cmd.Context(), name)
			if err != nil {
				return err
			}
			one, err := p.compared(cmd.Context(), c, job)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		keepDifferent(all)
		if output != "" {
			return writeValue(p.Out, output, all)
		}
		width, _, terminal := p.size()
		return printCompared(p.Out, all, width, terminal)
	}
	return cmd
}

// addOutput is -o for what is no object of the API.
func addOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json or yaml (default text for people)")
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
}

func checkOutput(output string) error {
	if output != "" && output != "json" && output != "yaml" {
		return fmt.Errorf("--output is %q: want json or yaml", output)
	}
	return nil
}

func writeValue(w io.Writer, output string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err == nil && output == "yaml" {
		data, err = yaml.JSONToYAML(data)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(data), "\n"))
	return err
}

// compared reads what there is of a job. A storage that cannot be read is said, and no error.
func (p *plugin) compared(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob) (*compared, error) {
	fields, err := checkpoint.Config(&job.Spec)
	if err != nil {
		return nil, err
	}
	one := &compared{Job: job.Name, Fields: fields, State: stateOf(job)}
	if s := job.Status.Progress; s != nil {
		one.Epochs, one.BestAccuracy, one.ImagesPerSecond = int(s.Epoch), s.BestAccuracy, s.ImagesPerSecond
	}
	r, err := c.results(ctx, job)
	if err == nil {
		defer r.Close()
		one.history, err = r.history(ctx)
	}
	if err != nil {
		fmt.Fprintf(p.ErrOut, "no curves of %s: %s\n", job.Name, contract.Line(explain(err)))
		return one, nil
	}
	one.summarize()
	return one, nil
}

func (o *compared) summarize() {
	epochs := o.history.Epochs
	if len(epochs) == 0 {
		return
	}
	o.Epochs = int(epochs[len(epochs)-1].Epoch)
	o.TestLoss, o.BestAccuracy, o.ImagesPerSecond = nil, nil, 0
	for _, m := range epochs {
		if m.TestLoss != nil {
			o.TestLoss = m.TestLoss
		}
		if m.Accuracy != nil && (o.BestAccuracy == nil || *m.Accuracy > *o.BestAccuracy) {
			o.BestAccuracy = m.Accuracy
		}
		o.Seconds += m.Seconds
		o.ImagesPerSecond += m.ImagesPerSecond * m.Seconds
	}
	if o.Seconds > 0 {
		o.ImagesPerSecond /= o.Seconds
	}
}

// keepDifferent drops the fields that are the same in all jobs.
func keepDifferent(all []*compared) {
	names := map[string]bool{}
	for _, one := range all {
		for name := range one.Fields {
			names[name] = true
		}
	}
	for name := range names {
		same := true
		for _, one := range all {
			same = same && bytes.Equal(one.Fields[name], all[0].Fields[name])
		}
		if same {
			for _, one := range all {
				delete(one.Fields, name)
			}
		}
	}
}

func printCompared(w io.Writer, all []*compared, width int, colors bool) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name string, value func(*compared) string) {
		cells := []string{name}
		for _, one := range all {
			cells = append(cells, contract.Line(value(one)))
		}
		fmt.Fprintln(out, strings.Join(cells, "\t"))
	}
	row("", func(o *compared) string { return o.Job })
	names := map[string]bool{}
	for _, one := range all {
		for name := range one.Fields {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row(name, func(o *compared) string {
			text := strings.Trim(string(o.Fields[name]), `"`)
			if text == "" || text == "null" {
				return none
			}
			return contract.Shorten(text, 40)
		})
	}
	if len(names) == 0 {
		fmt.Fprintln(out, "(the recipes are the same)")
	}
	number := func(format string, v *float64, scale float64) string {
		if v == nil {
			return none
		}
		return fmt.Sprintf(format, *v*scale)
	}
	row("state", func(o *compared) string { return o.State })
	row("epochs", func(o *compared) string { return fmt.Sprint(o.Epochs) })
	row("best accuracy", func(o *compared) string { return number("%.2f%%", o.BestAccuracy, 100) })
	row("test loss", func(o *compared) string { return number("%.4f", o.TestLoss, 1) })
	row("training time", func(o *compared) string {
		if o.Seconds == 0 {
			return none
		}
		return time.Duration(o.Seconds * float64(time.Second)).Round(time.Second).String()
	})
	row("images/s", func(o *compared) string { return fmt.Sprintf("%.4g", o.ImagesPerSecond) })
	if err := out.Flush(); err != nil {
		return err
	}
	var lines []curve
	for _, one := range all {
		if one.history != nil {
			line := accuracyCurves(one.history)[0]
			line.name = one.Job
			lines = append(lines, line)
		}
	}
	if text := chart("accuracy", "epoch", lines, width, 16, percent, colors); text != "" {
		fmt.Fprintf(w, "\n%s", text)
	}
	return nil
}
