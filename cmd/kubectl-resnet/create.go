package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/manifest"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const createHelp = `Check a job, and create it: the fields and their values here, by the rules of the operator's API, then on the API
server by a dry run, with the policies and quotas of the cluster, and the Secret and the claims that it names. Of a file
with several objects it creates the job only.`

// createOptions are flags of all commands that create a job.
type createOptions struct {
	dryRun  bool
	watch   bool
	output  *printFlags
	printer printers.ResourcePrinter
}

func (o *createOptions) add(cmd *cobra.Command) {
	o.output = newPrintFlags(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only check it, on the API server too")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "then show its curves until it has ended")
}

func (o *createOptions) check() (err error) {
	if o.output.set() {
		o.printer, err = o.output.ToPrinter()
	}
	return err
}

func newCreate(p *plugin) *cobra.Command {
	var file string
	var assignments []string
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create -f job.yaml",
		Short: "Check a job on the API server, then create it",
		Long:  createHelp,
		Example: `  kubectl resnet create -f job.yaml --dry-run -o yaml   # with all defaults
  kubectl resnet create -f job.yaml
  kubectl resnet create -f job.yaml --set metadata.name=try --set training.epochs=2 --watch`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "file with the job; - is standard input")
	cmd.Flags().StringArrayVar(&assignments, "set", nil, "change a field: training.epochs=3, or metadata.name=try; may be given several times")
	o.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return errors.New("which job? Give its file: -f job.yaml; kubectl resnet init DIR writes one for a folder of images")
		}
		if err := o.check(); err != nil {
			return err
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		job, err := p.loadJob(c, file, assignments)
		if err != nil {
			return err
		}
		return p.create(cmd.Context(), c, job, o)
	}
	return cmd
}

// loadJob reads and checks a file. A job without a namespace is for that of the kubeconfig.
func (p *plugin) loadJob(c *cluster, file string, assignments []string) (*v1.ResNetTrainingJob, error) {
	var data []byte
	var err error
	if file == "-" {
		file = "standard input"
		data, err = io.ReadAll(p.In)
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	job, err := manifest.ParseIn(c.namespace, data, assignments...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if *p.flags.Namespace != "" && job.Namespace != c.namespace {
		return nil, fmt.Errorf("%s: metadata.namespace is %s, and --namespace is %s: leave one of them out", file, job.Namespace, c.namespace)
	}
	return job, nil
}

// create checks a job on the API server, creates it, and says so.
func (p *plugin) create(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob, o createOptions) error {
	job.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.Kind))
	checked := job.DeepCopy()
	if err := c.Create(ctx, checked, client.DryRunAll, fieldOwner, client.FieldValidation("Strict")); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("there is a job %q in namespace %s already: what it trains cannot change, so choose another name (--set metadata.name=…), or edit the rest by kubectl apply",
				job.Name, job.Namespace)
		}
		return err
	}
	p.warnOfSecret(ctx, c, job)
	p.warnOfClaims(ctx, c, job)
	if !o.dryRun {
		checked = job.DeepCopy()
		if err := c.Create(ctx, checked, fieldOwner, client.FieldValidation("Strict")); err != nil {
			return err
		}
	}
	checked.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.Kind))
	switch {
	case o.printer != nil:
		if err := o.printer.PrintObj(checked, p.Out); err != nil {
			return err
		}
	case o.dryRun:
		fmt.Fprintf(p.Out, "%s could be created (dry run)\n", checked.Name)
	default:
		fmt.Fprintf(p.Out, "%s created; kubectl resnet watch %[1]s -n %s shows its curves\n", checked.Name, checked.Namespace)
	}
	if o.watch && !o.dryRun {
		return p.watchJob(ctx, c, checked, watchOptions{})
	}
	return nil
}

// warnOfSecret says what the pod would wait for. Whether there is a Secret only those who may read it are told.
func (p *plugin) warnOfSecret(ctx context.Context, c *cluster, job *v1.ResNetTrainingJob) {
	s3 := job.Spec.Storage.S3
	if s3 == nil || s3.CredentialsSecret == nil {
		return
	}
	secret, err := c.core.CoreV1().Secrets(job.Namespace).Get(ctx, s3.CredentialsSecret.Name, getOptions)
	if apierrors.IsNotFound(err) {
		fmt.Fprintf(p.ErrOut, "warning: there is no Secret %s in namespace %s, and the pod will wait for it: kubectl create secret generic %[1]s -n %[2]s --from-literal=AWS_ACCESS_KEY_ID=… --from-literal=AWS_SECRET_ACCESS_KEY=…\n",
			s3.CredentialsSecret.Name, job.Namespace)
		return
	}
	if err == nil {
		if _, err := accountOf(secret); err != nil {
			fmt.Fprintln(p.ErrOut, "warning:", err)
		}
	}
}

// exists reports whether there is a job of a name.
func (c *cluster) exists(ctx context.Context, namespace, name string) (bool, error) {
	err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &v1.ResNetTrainingJob{})
	return err == nil, client.IgnoreNotFound(err)
}
