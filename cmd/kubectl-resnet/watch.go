package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const watchHelp = `Show jobs as they run. Without a name: a table of all, those that run first. With one: the curves of its training,
as the trainer has them at this moment, or from the job's storage when no pod runs.

On a terminal the screen is drawn anew every --interval, until Ctrl-C or the end of the job; elsewhere a line is
printed for each change. --once shows the present state and ends.

The live curves come through a port-forward to the pod, which takes the right to create pods/portforward (the
ClusterRole edit has it). Who may not do that sees the curves up to the last epoch, from the storage.`

// watchOptions are the flags.
type watchOptions struct {
	once     bool
	interval time.Duration
	width    int
	noColor  bool
}

func newWatch(p *plugin) *cobra.Command {
	var which selection
	var o watchOptions
	cmd := &cobra.Command{
		Use:     "watch [JOB]",
		Aliases: []string{"top"},
		Short:   "Show jobs, or the curves of one, as they run",
		Long:    watchHelp,
		Example: `  kubectl resnet watch
  kubectl resnet watch flowers
  kubectl resnet top -A --state Running
  kubectl resnet watch flowers --once`,
	}
	p.oneJob(cmd)
	cmd.Args = cobra.MaximumNArgs(1)
	which.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.once, "once", false, "show the present state and end")
	flags.DurationVar(&o.interval, "interval", 2*time.Second, "time between two pictures")
	flags.IntVar(&o.width, "width", 0, "width of the curves in characters (default that of the terminal)")
	flags.BoolVar(&o.noColor, "no-color", false, "no colours, as the environment variable NO_COLOR has it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.interval < 100*time.Millisecond {
			return fmt.Errorf("--interval is %s: it must be 100ms or more", o.interval)
		}
		if o.width != 0 && o.width < 40 {
			return fmt.Errorf("--width is %d: it must be 40 or more", o.width)
		}
		options, err := which.options()
		if err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return p.watchJobs(cmd.Context(), o, func(ctx context.Context) ([]v1.ResNetTrainingJob, error) {
				return c.jobs(ctx, which.namespace(c), options...)
			}, which.allNamespaces)
		}
		if which != (selection{}) {
			return errors.New("-A, -l and --state choose among many jobs: leave them out with the name of one")
		}
		job, err := c.job(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return p.watchJob(cmd.Context(), c, job, o)
	}
	return cmd
}

// size of the terminal; ok is false if Out is none.
func (p *plugin) size() (width, height int, ok bool) {
	if f, isFile := p.Out.(*os.File); isFile && term.IsTerminal(int(f.Fd())) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return w, h, true
		}
	}
	return 80, 24, false
}

// Sequences that a terminal obeys: to the upper left corner; rub out to the end of the line, of the screen.
const goHome, rubLine, rubScreen, clearScreen = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"

// redraw shows pictures until one says that it is the last, or ctx ends.
func (p *plugin) redraw(ctx context.Context, interval time.Duration, picture func(width, height int) (text string, last bool, err error)) error {
	fmt.Fprint(p.Out, clearScreen)
	for {
		width, height, _ := p.size()
		text, last, err := picture(width, height)
		if err != nil {
			return err
		}
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
		lines = lines[:min(len(lines), max(1, height-1))]
		fmt.Fprint(p.Out, goHome+strings.Join(lines, rubLine+"\n")+rubLine+"\n"+rubScreen)
		if last {
			return nil
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil // the user has seen enough
		}
	}
}

// watchJobs shows the table.
func (p *plugin) watchJobs(ctx context.Context, o watchOptions, read func(context.Context) ([]v1.ResNetTrainingJob, error), all bool) error {
	table := func(height int) (string, error) {
		jobs, err := read(ctx)
		if err != nil {
			return "", err
		}
		sortJobs(jobs)
		return jobsPicture(jobs, all, height, time.Now())
	}
	if _, _, terminal := p.size(); terminal && !o.once {
		return p.redraw(ctx, o.interval, func(_, height int) (string, bool, error) {
			text, err := table(height)
			return text, false, err
		})
	}
	if o.once {
		text, err := table(0)
		fmt.Fprint(p.Out, text)
		return err
	}
	seen := map[string]string{}
	for {
		jobs, err := read(ctx)
		if err != nil {
			return err
		}
		for i := range jobs {
			if line := jobLine(&jobs[i], all); seen[string(jobs[i].UID)] != line {
				seen[string(jobs[i].UID)] = line
				fmt.Fprintln(p.Out, line)
			}
		}
		select {
		case <-time.After(o.interval):
		case <-ctx.Done():
			return nil
		}
	}
}

// jobsPicture is the table for a screen of some lines, 0 for any number, below a line that counts the jobs.
func jobsPicture(jobs []v1.ResNetTrainingJob, all bool, height int, now time.Time) (string, error) {
	counts := map[v1.State]int{}
	for i := range jobs {
		counts[jobs[i].Status.State]++
	}
	text := humanize.Comma(int64(len(jobs))) + " jobs"
	if len(jobs) == 1 {
		text = "1 job"
	}
	for _, state := range states {
		if n := counts[v1.State(state)]; n > 0 {
			text += fmt.Sprintf("  %d %s", n, state)
		}
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, text)
	shown := jobs
	if room := height - 5; height > 0 && len(jobs) > room {
		shown = jobs[:max(1, room)]
	}
	if len(jobs) > 0 {
		if err := printTable(&b, jobTable(shown, all, now), false, false); err != nil {
			return "", err
		}
	}
	if n := len(jobs) - len(shown); n > 0 {
		fmt.Fprintf(&b, "… and %s more: choose by -n, -l or --state\n", humanize.Comma(int64(n)))
	}
	return b.String(), nil
}

// jobLine is one line about a job.
func jobLine(job *v1.ResNetTrainingJob, withNamespace bool) string {
	name := job.Name
	if withNamespace {
		name = job.Namespace + "/" + name
	}
	text := name + "  " + stateOf(job)
	if d := job.Status.Display; d != nil {
		text += "  epoch " + d.Epoch
		if d.Loss != "" {
			text += "  loss " + d.Loss
		}
		if d.Accuracy != "" {
			text += "  accuracy " + d.Accuracy
		}
	}
	if job.Status.State != v1.StateRunning && job.Status.State != v1.StateSucceeded {
		if m := message(job); m != "" {
			text += "  " + contract.Line(m)
		}
	}
	return contract.Printable(text)
}

// watcher shows one job.
type watcher struct {
	p   *plugin
	c   *cluster
	job *v1.ResNetTrainingJob
	o   watchOptions

	live *live
	note string // why the curves are not live
	// saved is the history in the storage, and at which epoch of which attempt it was read.
	saved   *contract.History
	savedAt [2]int32
	results *results
}

func (w *watcher) close() {
	w.live.close()
	if w.results != nil {
		w.results.Close()
	}
}

// watchJob shows the curves of one job until it has ended.
func (p *plugin) watchJob(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob, o watchOptions) error {
	if o.interval == 0 {
		o.interval = 2 * time.Second
	}
	w := &watcher{p: p, c: c, job: job, o: o}
	defer w.close()
	_, _, terminal := p.size()
	switch {
	case o.once:
		width, height, _ := p.size()
		text, _, err := w.picture(ctx, width, max(height, 40))
		fmt.Fprint(p.Out, text)
		return err
	case terminal:
		err := p.redraw(ctx, o.interval, func(width, height int) (string, bool, error) { return w.picture(ctx, width, height) })
		if err == nil && ended(w.job) && w.job.Status.State == v1.StateFailed {
			return errSaid
		}
		return err
	}
	return w.lines(ctx)
}

// lines prints a line for each change.
func (w *watcher) lines(ctx context.Context) error {
	said := ""
	for {
		if line := jobLine(w.job, false); line != said {
			fmt.Fprintln(w.p.Out, line)
			said = line
		}
		if ended(w.job) {
			if w.job.Status.State == v1.StateFailed {
				return errSaid
			}
			return nil
		}
		select {
		case <-time.After(w.o.interval):
		case <-ctx.Done():
			return nil
		}
		job, err := w.c.sameJob(ctx, w.job)
		if err != nil {
			return err
		}
		w.job = job
	}
}

// picture of the job as it is now; last if it has ended.
func (w *watcher) picture(ctx context.Context, width, height int) (text string, last bool, err error) {
	job, err := w.c.sameJob(ctx, w.job)
	if err != nil {
		return "", false, err
	}
	w.job = job
	h, p := w.history(ctx)
	if w.o.width > 0 {
		width = w.o.width
	}
	_, _, terminal := w.p.size()
	colors := terminal && !w.o.noColor && os.Getenv("NO_COLOR") == ""
	var b strings.Builder
	header(&b, job, p, width, time.Now())
	if w.note != "" {
		fmt.Fprintln(&b, contract.Line(w.note))
	}
	if h != nil {
		curves(&b, h, width, height-7, colors)
	}
	return b.String(), ended(job), nil
}

// header says where the job stands: by the trainer's own word if there is one, which is newer.
func header(w io.Writer, job *v1.ResNetTrainingJob, p *contract.Progress, width int, now time.Time) {
	fmt.Fprintf(w, "%s/%s  %s  attempt %d  age %s\n", job.Namespace, job.Name, stateOf(job), job.Status.Attempt,
		duration.HumanDuration(now.Sub(job.CreationTimestamp.Time)))
	if p == nil {
		p = progressOf(job)
	}
	if p == nil {
		fmt.Fprintln(w, contract.Line(message(job)))
		return
	}
	fmt.Fprintln(w, bar(p.Step, p.Steps, width))
	parts := []string{fmt.Sprintf("epoch %d/%d", p.Epoch, p.Epochs), fmt.Sprintf("step %s/%s", humanize.Comma(p.Step), humanize.Comma(p.Steps))}
	add := func(format string, v *float64, scale float64) {
		if v != nil {
			parts = append(parts, fmt.Sprintf(format, *v*scale))
		}
	}
	add("loss %.4f", p.Loss, 1)
	add("accuracy %.2f%%", p.Accuracy, 100)
	add("best %.2f%%", p.BestAccuracy, 100)
	if p.LR > 0 {
		add("lr %.3g", &p.LR, 1)
	}
	if p.ImagesPerSecond > 0 {
		add("%.4g images/s", &p.ImagesPerSecond, 1)
	}
	if p.ETASeconds >= 1 && !ended(job) {
		parts = append(parts, "ETA "+duration.HumanDuration(time.Duration(p.ETASeconds)*time.Second))
	}
	fmt.Fprintln(w, strings.Join(parts, "  "))
	if p.Waiting != nil {
		fmt.Fprintln(w, contract.Line("waits for "+p.Waiting.For))
	}
	if job.Status.State != v1.StateRunning {
		fmt.Fprintln(w, contract.Line(message(job)))
	}
}

// progressOf the status.
func progressOf(job *v1.ResNetTrainingJob) *contract.Progress {
	s := job.Status.Progress
	if s == nil {
		return nil
	}
	return &contract.Progress{Epoch: s.Epoch, Epochs: s.Epochs, Step: s.Step, Steps: s.Steps, Loss: s.Loss, Accuracy: s.Accuracy,
		BestAccuracy: s.BestAccuracy, ImagesPerSecond: s.ImagesPerSecond, ETASeconds: float64(s.ETASeconds)}
}

func bar(done, all int64, width int) string {
	share := 0.0
	if all > 0 {
		share = min(1, float64(done)/float64(all))
	}
	room := max(10, width-7)
	full := int(share * float64(room))
	return strings.Repeat("█", full) + strings.Repeat("░", room-full) + fmt.Sprintf(" %3.0f%%", 100*share)
}

// curves that have something to show, one above the other.
func curves(w io.Writer, h *contract.History, width, height int, colors bool) {
	charts := []func(height int) string{
		func(n int) string { return chart("loss", "step", lossCurves(h), width, n, plain, colors) },
		func(n int) string { return chart("accuracy", "epoch", accuracyCurves(h), width, n, percent, colors) },
		func(n int) string { return chart("learning rate", "step", rateCurves(h), width, n, plain, colors) },
	}
	if height < 30 {
		charts = charts[:2]
	}
	for _, draw := range charts {
		if text := draw(max(8, height/len(charts)-1)); text != "" {
			fmt.Fprintf(w, "\n%s", text)
		}
	}
}

// history as it is now: that of the trainer if one runs and can be reached, else that of the storage. Both are nil where
// there is none; note says why it is not live, or not there.
func (w *watcher) history(ctx context.Context) (*contract.History, *contract.Progress) {
	w.note = ""
	if w.job.Status.State == v1.StateRunning {
		h, p, err := w.fromPod(ctx)
		if err == nil && h != nil {
			return h, p
		}
		if err != nil {
			w.live.close()
			w.live = nil
			w.note = "not live, but up to the last epoch: " + explain(err)
		}
	}
	at := [2]int32{w.job.Status.Attempt, 0}
	if p := w.job.Status.Progress; p != nil {
		at[1] = p.Epoch
	}
	if w.saved != nil && w.savedAt == at && !ended(w.job) {
		return w.saved, nil
	}
	if w.job.Status.FirstStepTime == nil {
		return nil, nil // nothing can be there
	}
	h, err := w.fromStorage(ctx)
	if err != nil {
		w.note = "no curves: " + explain(err)
		return w.saved, nil
	}
	w.saved, w.savedAt = h, at
	return h, nil
}

func (w *watcher) fromPod(ctx context.Context) (*contract.History, *contract.Progress, error) {
	pod, err := w.c.trainerPod(ctx, w.job)
	if err != nil || pod == nil {
		return nil, nil, err
	}
	if w.live != nil && w.live.pod != pod.Name {
		w.live.close()
		w.live = nil
	}
	if w.live == nil {
		if w.live, err = w.c.openLive(ctx, w.job, pod); err != nil {
			w.live = nil
			return nil, nil, err
		}
	}
	return w.live.history(ctx)
}

func (w *watcher) fromStorage(ctx context.Context) (h *contract.History, err error) {
	if w.results == nil && onVolume(w.job) {
		return nil, fmt.Errorf("%s is on a volume, and no pod trains: kubectl resnet report %s brings the curves", w.job.Spec.Storage.URI, w.job.Name)
	}
	if w.results == nil {
		if w.results, err = w.c.results(ctx, w.job); err != nil {
			return nil, err
		}
	}
	return w.results.history(ctx)
}
