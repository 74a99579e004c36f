package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// plugin is what the commands share. It connects when the first of them asks.
type plugin struct {
	genericclioptions.IOStreams
	flags *genericclioptions.ConfigFlags
}

// cluster is a connection, with the namespace that the user works in.
type cluster struct {
	client.WithWatch
	config    *rest.Config
	core      kubernetes.Interface
	namespace string
}

// connect reads the kubeconfig. It does not reach out yet.
func (p *plugin) connect() (*cluster, error) {
	config, err := p.flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	if raw, err := p.flags.ToRawKubeConfigLoader().RawConfig(); err == nil && clientcmdapi.IsConfigEmpty(&raw) &&
		*p.flags.APIServer == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return nil, clientcmd.ErrEmptyConfig
	}
	config.QPS, config.Burst = -1, -1 // the API server's priority and fairness is the limit
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	// A mapper of its own would first ask the API server for all that it has.
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: staticMapper(scheme)})
	if err != nil {
		return nil, err
	}
	core, err := kubernetes.NewForConfig(config)
	return &cluster{WithWatch: c, config: config, core: core, namespace: namespace}, err
}

// job by its name, which may be job/<name> or resnetjob/<name> as for kubectl.
func (c *cluster) job(ctx context.Context, name string) (*v1.ResNetTrainingJob, error) {
	name, err := jobName(name)
	if err != nil {
		return nil, err
	}
	job := &v1.ResNetTrainingJob{}
	if err := c.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: name}, job); err != nil {
		return nil, err
	}
	job.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.Kind)) // which clients drop, and printers want
	return job, nil
}

// jobName is what stands behind the slash, if there is one.
func jobName(arg string) (string, error) {
	kind, name, ok := strings.Cut(arg, "/")
	if !ok {
		return arg, nil
	}
	kind, _, _ = strings.Cut(kind, ".")
	if !slices.Contains([]string{"resnettrainingjobs", "resnettrainingjob", "resnetjobs", "resnetjob"}, kind) || name == "" {
		return "", fmt.Errorf("%q is no ResNetTrainingJob: want its name, or resnetjob/NAME", arg)
	}
	return name, nil
}

// pageSize is how many jobs the API server sends in one answer.
const pageSize = 500

// jobs of a namespace, "" for all, page by page.
func (c *cluster) jobs(ctx context.Context, namespace string, options ...client.ListOption) ([]v1.ResNetTrainingJob, error) {
	var all []v1.ResNetTrainingJob
	for more := ""; ; {
		var page v1.ResNetTrainingJobList
		err := c.List(ctx, &page, append(options, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(more))...)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			page.Items[i].SetGroupVersionKind(v1.GroupVersion.WithKind(v1.Kind))
		}
		all = append(all, page.Items...)
		if more = page.Continue; more == "" {
			return all, nil
		}
	}
}

// pods of a job, of all attempts that still have any.
func (c *cluster) pods(ctx context.Context, job *v1.ResNetTrainingJob) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.List(ctx, &list, client.InNamespace(job.Namespace),
		client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(labels.Set{childjob.LabelJobName: job.Name})})
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !ownedBy(&pod, job) }), err
}

// ownedBy reports whether the trainer in a pod is that of this very job, not of an earlier one of its name.
func ownedBy(pod *corev1.Pod, job *v1.ResNetTrainingJob) bool {
	return strings.Contains(pod.Annotations[childjob.AnnotationJob], `"uid":"`+string(job.UID)+`"`)
}

// printFlags are -o and what belongs to it, for objects of the API.
type printFlags struct{ *genericclioptions.PrintFlags }

func newPrintFlags(cmd *cobra.Command) *printFlags {
	f := &printFlags{genericclioptions.NewPrintFlags("").WithTypeSetter(scheme())}
	f.AddFlags(cmd)
	return f
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := v1.AddToScheme(s); err != nil {
		panic(err) // the same kind twice
	}
	return s
}

// set reports whether another format than the one for people was asked for.
func (f *printFlags) set() bool { return f.OutputFormat != nil && *f.OutputFormat != "" }

// oneJob are the arguments of commands on one job.
func (p *plugin) oneJob(cmd *cobra.Command) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("want the name of one job, got %d: kubectl resnet %s JOB", len(args), cmd.Name())
		}
		return nil
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.completeJobs(cmd, args, "")
	}
}

// manyJobs are those of commands on several.
func (p *plugin) manyJobs(cmd *cobra.Command, least int) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) < least {
			return fmt.Errorf("want the names of at least %d job(s): kubectl resnet %s", least, cmd.Use)
		}
		return nil
	}
	cmd.ValidArgsFunction = p.completeJobs
}

// completeJobs offers the names of jobs that are not there yet.
func (p *plugin) completeJobs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := p.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	jobs, err := c.jobs(cmd.Context(), c.namespace)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, job := range jobs {
		if !slices.Contains(args, job.Name) {
			names = append(names, job.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (p *plugin) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := p.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list corev1.NamespaceList
	if c.List(cmd.Context(), &list) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// forEachJob does something with jobs, and goes on after an error, which it says; then the end is errSaid.
func (p *plugin) forEachJob(ctx context.Context, names []string, do func(c *cluster, job *v1.ResNetTrainingJob) error) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		job, err := c.job(ctx, name)
		if err == nil {
			err = do(c, job)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 1 {
		for _, err := range failed {
			fmt.Fprintln(p.ErrOut, "error:", explain(err))
		}
		return errSaid
	}
	return errors.Join(failed...)
}
