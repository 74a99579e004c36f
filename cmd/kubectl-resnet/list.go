package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// selection says which jobs a command is about.
type selection struct {
	allNamespaces bool
	selector      string
	state         string
}

func (s *selection) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&s.allNamespaces, "all-namespaces", "A", false, "jobs of all namespaces")
	flags.StringVarP(&s.selector, "selector", "l", "", "only jobs with these labels, such as team=vision")
	flags.StringVar(&s.state, "state", "", "only jobs in this state, such as Running or Failed")
	if err := cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
}

var states = []string{string(v1.StatePending), string(v1.StateQueued), string(v1.StateStarting), string(v1.StateRunning),
	string(v1.StateRestarting), string(v1.StateSuspended), string(v1.StateSucceeded), string(v1.StateFailed)}

// namespace to look in; "" is all.
func (s *selection) namespace(c *cluster) string {
	if s.allNamespaces {
		return ""
	}
	return c.namespace
}

// options for the API server, which selects.
func (s *selection) options() ([]client.ListOption, error) {
	var options []client.ListOption
	if s.selector != "" {
		selector, err := labels.Parse(s.selector)
		if err != nil {
			return nil, fmt.Errorf("--selector: %w", err)
		}
		options = append(options, client.MatchingLabelsSelector{Selector: selector})
	}
	if s.state != "" {
		i := slices.IndexFunc(states, func(known string) bool { return strings.EqualFold(known, s.state) })
		if i < 0 {
			return nil, fmt.Errorf("--state is %q: want one of %s", s.state, strings.Join(states, ", "))
		}
		options = append(options, client.MatchingFields{"status.state": states[i]})
	}
	return options, nil
}

func newList(p *plugin) *cobra.Command {
	var which selection
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List jobs, those that run first",
		Example: `  kubectl resnet list
  kubectl resnet list -A --state Failed -o wide
  kubectl resnet list -l team=vision -o name`,
		Args: cobra.NoArgs,
	}
	which.add(cmd)
	noHeaders := cmd.Flags().Bool("no-headers", false, "leave the line with the names of the columns out")
	output := newPrintFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		options, err := which.options()
		if err != nil {
			return err
		}
		wide := *output.OutputFormat == "wide"
		var printer printers.ResourcePrinter
		if output.set() && !wide {
			if printer, err = output.ToPrinter(); err != nil {
				return err
			}
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		jobs, err := c.jobs(cmd.Context(), which.namespace(c), options...)
		if err != nil {
			return err
		}
		sortJobs(jobs)
		if printer != nil {
			list, err := listOf(jobs)
			if err != nil {
				return err
			}
			return printer.PrintObj(list, p.Out)
		}
		if len(jobs) == 0 {
			fmt.Fprintln(p.ErrOut, which.none(c))
			return nil
		}
		return printTable(p.Out, jobTable(jobs, which.allNamespaces, time.Now()), wide, *noHeaders)
	}
	return cmd
}

// listOf is what printers take for several objects.
func listOf(jobs []v1.ResNetTrainingJob) (*unstructured.UnstructuredList, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.Kind + "List"))
	for i := range jobs {
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&jobs[i])
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, unstructured.Unstructured{Object: object})
	}
	return list, nil
}

// none says that there are no such jobs.
func (s *selection) none(c *cluster) string {
	switch {
	case s.selector != "" || s.state != "":
		return "There are no such jobs."
	case s.allNamespaces:
		return "There are no jobs: kubectl resnet init DIR makes one of a folder of images."
	}
	return fmt.Sprintf("There are no jobs in namespace %s: -A looks in all; kubectl resnet init DIR makes one of a folder of images.", c.namespace)
}

// sortJobs puts jobs that are under way first, then the newest.
func sortJobs(jobs []v1.ResNetTrainingJob) {
	slices.SortStableFunc(jobs, func(a, b v1.ResNetTrainingJob) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func rank(job *v1.ResNetTrainingJob) int {
	switch job.Status.State {
	case v1.StateRunning:
		return 0
	case v1.StateSucceeded, v1.StateFailed:
		return 2
	}
	return 1
}

// jobTable is for people. Columns of priority 1 are for -o wide.
func jobTable(jobs []v1.ResNetTrainingJob, withNamespace bool, now time.Time) *metav1.Table {
	t := &metav1.Table{}
	column := func(name string, priority int32) {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: priority})
	}
	if withNamespace {
		column("Namespace", 0)
	}
	for _, name := range []string{"Name", "State", "Epoch", "Loss", "Accuracy", "Best", "ETA", "Age"} {
		column(name, 0)
	}
	for _, name := range []string{"Images/s", "Attempt", "Model", "Data", "Checkpoint", "Message"} {
		column(name, 1)
	}
	for i := range jobs {
		cells := jobCells(&jobs[i], now)
		if withNamespace {
			cells = append([]any{jobs[i].Namespace}, cells...)
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: cells})
	}
	return t
}

const none = "<none>"

func jobCells(job *v1.ResNetTrainingJob, now time.Time) []any {
	s := &job.Status
	d, p, checkpoint := s.Display, s.Progress, none
	if d == nil {
		d = &v1.DisplayStatus{}
	}
	if s.Checkpoint != nil {
		checkpoint = s.Checkpoint.Name
	}
	speed := none
	if p != nil && p.ImagesPerSecond > 0 {
		speed = fmt.Sprintf("%.4g", p.ImagesPerSecond)
	}
	or := func(text string) string { return cmp.Or(contract.Line(text), none) }
	return []any{job.Name, or(string(s.State)), or(d.Epoch), or(d.Loss), or(d.Accuracy), or(d.BestAccuracy), or(d.ETA),
		duration.HumanDuration(now.Sub(job.CreationTimestamp.Time)), speed, fmt.Sprint(s.Attempt),
		string(cmp.Or(job.Spec.Model.Architecture, v1.ResNet18)), string(job.Spec.Dataset.Format), checkpoint,
		or(contract.Shorten(message(job), 100))}
}

// message of the condition that says where a job stands: why it failed, or what it waits for.
func message(job *v1.ResNetTrainingJob) string {
	if c := job.Status.Explanation(); c != nil {
		return c.Message
	}
	return ""
}

func printTable(w io.Writer, t *metav1.Table, wide, noHeaders bool) error {
	return printers.NewTablePrinter(printers.PrintOptions{Wide: wide, NoHeaders: noHeaders}).PrintObj(t, w)
}
