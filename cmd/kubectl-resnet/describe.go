package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const describeHelp = `Tell the story of a job: what it trains, how far it is, its attempts and why they ended, its checkpoints.

What happened comes from the events about the job, which a cluster keeps for an hour or so. With --bucket also the job's
folder in its storage is looked at, which has the checkpoints and the logs of all attempts.`

func newDescribe(p *plugin) *cobra.Command {
	var bucket bool
	cmd := &cobra.Command{
		Use:   "describe JOB",
		Short: "Tell the story of a job: attempts, reasons, checkpoints",
		Long:  describeHelp,
		Example: `  kubectl resnet describe flowers
  kubectl resnet describe flowers --bucket`,
	}
	p.oneJob(cmd)
	cmd.Flags().BoolVar(&bucket, "bucket", false, "look at what lies in the job's storage as well")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		job, err := c.job(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		story := story{job: job, now: time.Now()}
		if story.events, err = c.eventsOf(cmd.Context(), job); err != nil {
			story.noEvents = explain(err)
		}
		if story.pods, err = c.pods(cmd.Context(), job); err != nil {
			story.noPods = explain(err)
		}
		if err := story.print(p.Out); err != nil || !bucket {
			return err
		}
		results, err := c.results(cmd.Context(), job)
		if err != nil {
			return err
		}
		defer results.Close()
		return describeBucket(cmd.Context(), p.Out, results)
	}
	return cmd
}

// eventsOf a job, in their order.
func (c *cluster) eventsOf(ctx context.Context, job *v1.ResNetTrainingJob) ([]corev1.Event, error) {
	var list corev1.EventList
	err := c.List(ctx, &list, client.InNamespace(job.Namespace), client.MatchingFieldsSelector{
		Selector: fields.OneTermEqualSelector("involvedObject.uid", string(job.UID))})
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	return list.Items, err
}

func eventTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return cmp.Or(e.EventTime.Time, e.CreationTimestamp.Time)
}

// story is what describe tells.
type story struct {
	job              *v1.ResNetTrainingJob
	events           []corev1.Event
	noEvents, noPods string // why they could not be read
	pods             []corev1.Pod
	now              time.Time
}

func (s *story) print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%s:\t%s\n", name, contract.Line(fmt.Sprintf(format, args...)))
	}
	job, status := s.job, &s.job.Status
	line("Name", "%s", job.Name)
	line("Namespace", "%s", job.Namespace)
	line("UID", "%s", job.UID)
	line("Created", "%s", s.ago(job.CreationTimestamp.Time))
	line("State", "%s", cmp.Or(status.State, "not seen by the operator yet"))
	if text := message(job); text != "" {
		line("Message", "%s", text)
	}
	line("Model", "%s", describeModel(&job.Spec))
	line("Data", "%s", describeData(&job.Spec))
	line("Recipe", "%s", describeRecipe(&job.Spec))
	line("Runs on", "%s", describeResources(&job.Spec, status.Compute))
	line("Results", "%s", folderURI(job))
	s.progress(line)
	line("Attempts", "%d, of which %d failed (%d may) and %d were ended from outside", status.Attempt, status.Failures,
		max(1, job.Spec.Retry.MaxFailures), status.Disruptions)
	if status.RetryTime != nil && status.State == v1.StateRestarting {
		line("Next attempt", "%s", s.ago(status.RetryTime.Time))
	}
	if c := status.Checkpoint; c != nil {
		line("Checkpoint", "%s: epoch %d, step %d, %s", c.Name, c.Epoch, c.Step, s.ago(c.Time.Time))
	} else {
		line("Checkpoint", "%s", none)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := s.printPods(w); err != nil {
		return err
	}
	return s.printEvents(w)
}

func (s *story) progress(line func(name, format string, args ...any)) {
	p, d := s.job.Status.Progress, s.job.Status.Display
	if p == nil || d == nil {
		line("Progress", "%s", none)
		return
	}
	parts := []string{fmt.Sprintf("epoch %s, step %s/%s", d.Epoch, humanize.Comma(p.Step), humanize.Comma(p.Steps))}
	for name, value := range map[string]string{"loss": d.Loss, "accuracy": d.Accuracy, "best": d.BestAccuracy, "ETA": d.ETA} {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	slices.Sort(parts[1:])
	if p.ImagesPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.4g images/s", p.ImagesPerSecond))
	}
	line("Progress", "%s", strings.Join(parts, ", "))
}

// ago is a moment for people.
func (s *story) ago(t time.Time) string {
	text, d := t.UTC().Format(time.DateTime)+" UTC", s.now.Sub(t)
	if d < 0 {
		return fmt.Sprintf("%s, in %s", text, duration.HumanDuration(-d))
	}
	return fmt.Sprintf("%s, %s ago", text, duration.HumanDuration(d))
}

func (s *story) printPods(w io.Writer) error {
	fmt.Fprintln(w, "\nPods:")
	switch {
	case s.noPods != "":
		fmt.Fprintln(w, "  not known:", contract.Line(s.noPods))
		return nil
	case len(s.pods) == 0:
		fmt.Fprintln(w, "  none is left")
		return nil
	}
	slices.SortFunc(s.pods, func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(attemptOf(&a), attemptOf(&b)), cmp.Compare(a.Name, b.Name))
	})
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "  ATTEMPT\tPOD\tNODE\tSTATE\tLAST WORD")
	for i := range s.pods {
		pod := &s.pods[i]
		state, word := podState(pod)
		fmt.Fprintf(out, "  %d\t%s\t%s\t%s\t%s\n", attemptOf(pod), pod.Name, cmp.Or(pod.Spec.NodeName, none), state,
			cmp.Or(contract.Line(word), none))
	}
	return out.Flush()
}

func (s *story) printEvents(w io.Writer) error {
	fmt.Fprintln(w, "\nEvents:")
	switch {
	case s.noEvents != "":
		fmt.Fprintln(w, "  not known:", contract.Line(s.noEvents))
		return nil
	case len(s.events) == 0:
		fmt.Fprintln(w, "  none, or the cluster has forgotten them")
		return nil
	}
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "  AGE\tTYPE\tREASON\tMESSAGE")
	for i := range s.events {
		e := &s.events[i]
		fmt.Fprintf(out, "  %s\t%s\t%s\t%s\n", duration.HumanDuration(s.now.Sub(eventTime(e))), e.Type, e.Reason,
			contract.Line(e.Message))
	}
	return out.Flush()
}

func describeModel(spec *v1.ResNetTrainingJobSpec) string {
	m := &spec.Model
	text := string(cmp.Or(m.Architecture, v1.ResNet18))
	if m.WidthMultiplier != 0 && m.WidthMultiplier != 1 {
		text += fmt.Sprintf(", width %g", m.WidthMultiplier)
	}
	if m.Stem != "" {
		text += fmt.Sprintf(", stem for %s", m.Stem)
	}
	return text + fmt.Sprintf(", %s, %s", cmp.Or(m.Normalization, v1.BatchNorm), cmp.Or(m.Activation, v1.ReLU))
}

func describeData(spec *v1.ResNetTrainingJobSpec) string {
	d := &spec.Dataset
	text := string(d.Format)
	if d.URI != "" {
		text += " at " + publicURI(d.URI)
	}
	if d.ImageSize != nil {
		text += fmt.Sprintf(", images of %d×%d", *d.ImageSize, *d.ImageSize)
	}
	return text
}

func describeRecipe(spec *v1.ResNetTrainingJobSpec) string {
	t := &spec.Training
	text := fmt.Sprintf("%d epochs, batches of %d, %s", t.Epochs, t.BatchSize, t.Optimizer.Type)
	if t.Schedule.Type != "" {
		text += fmt.Sprintf(", %s", t.Schedule.Type)
	}
	if spec.ResumeFrom != nil {
		text += ", begins with " + publicURI(spec.ResumeFrom.URI)
	}
	return text
}

func describeResources(spec *v1.ResNetTrainingJobSpec, compute string) string {
	r := &spec.Resources
	var parts []string
	if d := spec.Distributed; d != nil {
		parts = append(parts, fmt.Sprintf("%d pods, each with", max(1, d.Pods)))
	}
	if r.GPUs > 0 {
		parts = append(parts, fmt.Sprintf("%d %s,", r.GPUs, cmp.Or(r.GPUResource, "nvidia.com/gpu")))
	}
	if r.CPU != nil {
		parts = append(parts, r.CPU.String()+" CPUs,")
	}
	if r.Memory != nil {
		parts = append(parts, r.Memory.String()+" of memory,")
	}
	if compute != "" {
		parts = append(parts, "computes on "+compute)
	}
	return strings.TrimSuffix(strings.Join(parts, " "), ",")
}

// describeBucket lists what lies in a job's folder.
func describeBucket(ctx context.Context, w io.Writer, r *results) error {
	infos, err := r.List(quiet(ctx), "")
	if err != nil {
		return err
	}
	if len(infos) == 0 {
		return r.empty()
	}
	type folder struct {
		files    int
		bytes    int64
		modified time.Time
	}
	folders := map[string]*folder{}
	var names []string
	for _, info := range infos {
		parts := strings.Split(info.Key, "/")
		name := parts[0]
		switch {
		case len(parts) > 2: // a checkpoint, the metrics of an attempt
			name = parts[0] + "/" + parts[1] + "/"
		case len(parts) > 1 && parts[0] != "logs":
			name += "/"
		case len(parts) > 1:
			name = info.Key
		}
		f := folders[name]
		if f == nil {
			f = &folder{}
			folders[name] = f
			names = append(names, name)
		}
		f.files++
		f.bytes += info.Size
		if info.Modified.After(f.modified) {
			f.modified = info.Modified
		}
	}
	slices.Sort(names)
	fmt.Fprintf(w, "\nIn %s:\n", r.URI(""))
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "  NAME\tFILES\tSIZE\tWRITTEN")
	for _, name := range names {
		f := folders[name]
		fmt.Fprintf(out, "  %s\t%d\t%s\t%s\n", contract.Line(name), f.files, humanize.IBytes(uint64(max(0, f.bytes))),
			f.modified.UTC().Format(time.DateTime))
	}
	return out.Flush()
}
