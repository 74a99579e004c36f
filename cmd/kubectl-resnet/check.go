package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const checkHelp = `Find out whether the cluster is fit for ResNetTrainingJobs, and you for using them: the versions, the operator, your
rights in the namespace, GPUs, volumes for claims, and, with a job or its file, its claims, the storage, its account
and the data.

A storage is reached from this machine, as other commands reach it: that a pod reaches it too, its first attempt
tells. The exit code is 1 if something fails that jobs need; what only some commands need is a warning.`

// Outcomes of a check.
const (
	outcomeOK      = "ok"
	outcomeWarning = "warning"
	outcomeFailed  = "FAILED"
)

// finding is the outcome of one check.
type finding struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome"`
	// Message says what was found, and what to do unless it is ok.
	Message string `json:"message"`
}

// examination gathers findings.
type examination struct {
	c        *cluster
	findings []finding
}

func (x *examination) add(check, outcome, format string, args ...any) {
	x.findings = append(x.findings, finding{check, outcome, contract.Line(fmt.Sprintf(format, args...))})
}

func newCheck(p *plugin) *cobra.Command {
	var file, output string
	cmd := &cobra.Command{
		Use:   "check [JOB]",
		Short: "Find out whether cluster, rights and storage are fit",
		Long:  checkHelp,
		Example: `  kubectl resnet check
  kubectl resnet check -f job.yaml   # and the storage that it names
  kubectl resnet check flowers -n team`,
	}
	p.oneJob(cmd)
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Flags().StringVarP(&file, "filename", "f", "", "file of a job whose claims and storage are to be looked at as well")
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(output); err != nil {
			return err
		}
		if file != "" && len(args) > 0 {
			return errors.New("--filename and the name of a job: give one of them")
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		x := &examination{c: c}
		var job *v1.ResNetTrainingJob
		if file != "" {
			if job, err = p.loadJob(c, file, nil); err != nil {
				return err
			}
		}
		if x.versions(); x.reached() {
			x.operator(cmd.Context())
			x.rights(cmd.Context())
			x.gpus(cmd.Context())
			if len(args) > 0 {
				if job, err = c.job(cmd.Context(), args[0]); err != nil {
					x.add("job", outcomeFailed, "%s", explain(err))
				}
			}
			x.volumes(cmd.Context(), job)
			if job != nil {
				x.storage(cmd.Context(), job)
			}
		}
		return x.print(p, output)
	}
	return cmd
}

func (x *examination) reached() bool { return x.findings[0].Outcome == outcomeOK }

// versions of the API server, and whether it has the kind.
func (x *examination) versions() {
	info, err := x.c.core.Discovery().ServerVersion()
	if err != nil {
		x.add("API server", outcomeFailed, "%s", explain(err))
		return
	}
	switch server, err := version.ParseGeneric(info.GitVersion); {
	case err != nil:
		x.add("API server", outcomeOK, "is of version %q, which tells nothing", info.GitVersion)
	case server.LessThan(version.MustParseGeneric(contract.OldestKubernetes)):
		x.add("API server", outcomeFailed, "is Kubernetes %s, and %s is the oldest release that the operator works with", info.GitVersion,
			contract.OldestKubernetes)
		return
	default:
		x.add("API server", outcomeOK, "Kubernetes %s", info.GitVersion)
	}
	resources, err := x.c.core.Discovery().ServerResourcesForGroupVersion(v1.GroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		x.add("CRD", outcomeFailed, "the cluster has no %s: install the operator (docs/install.md)", v1.Kind)
	case err != nil:
		x.add("CRD", outcomeFailed, "%s", explain(err))
	case !slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Name == jobsResource }):
		x.add("CRD", outcomeFailed, "%s has no %s: install the operator anew (docs/install.md)", v1.GroupVersion, jobsResource)
	default:
		x.add("CRD", outcomeOK, "%s is served", v1.GroupVersion)
	}
}

// operator looks for the manager.
func (x *examination) operator(ctx context.Context) {
	const name = "operator"
	var list appsv1.DeploymentList
	err := x.c.List(ctx, &list, client.MatchingLabels{"app.kubernetes.io/name": "resnet-operator"})
	switch {
	case apierrors.IsForbidden(err):
		x.add(name, outcomeWarning, "you may not list Deployments of all namespaces: whether the manager runs is not known")
		return
	case err != nil:
		x.add(name, outcomeWarning, "%s", explain(err))
		return
	case len(list.Items) == 0:
		x.add(name, outcomeFailed, "no Deployment has the label app.kubernetes.io/name=resnet-operator: install the operator (docs/install.md), or make run")
		return
	}
	for i := range list.Items {
		d := &list.Items[i]
		where, want := d.Namespace+"/"+d.Name, int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		image := none
		if len(d.Spec.Template.Spec.Containers) > 0 {
			image = d.Spec.Template.Spec.Containers[0].Image
		}
		if d.Status.AvailableReplicas == 0 {
			x.add(name, outcomeFailed, "%s (%s) has no available pod of %d: kubectl -n %s describe deployment %s says why", where, image, want,
				d.Namespace, d.Name)
			continue
		}
		x.add(name, outcomeOK, "%s (%s), %d of %d pods are available", where, image, d.Status.AvailableReplicas, want)
	}
}

// right is something that a user may do or not.
type right struct {
	group, resource, verbs string
	needed                 bool
	// for says which commands need it.
	use string
}

var rights = []right{
	{v1.GroupVersion.Group, jobsResource, "get list watch", true, "look at jobs"},
	{v1.GroupVersion.Group, jobsResource, "create patch delete", false, "create, suspend, resume, retry"},
	{"", "pods", "get list", false, "describe, logs and live curves"},
	{"", "pods/log", "get", false, "logs of pods that still exist"},
	{"", "pods/portforward", "create", false, "live curves, and a storage inside of the cluster"},
	{"", "events", "list", false, "the story in describe"},
	{"", "secrets", "get", false, "the account of a job's storage; without it, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are used"},
	{"", "services", "get", false, "a storage inside of the cluster"},
}

// rights of the user in the namespace.
func (x *examination) rights(ctx context.Context) {
	for _, r := range rights {
		var lacking []string
		for verb := range strings.FieldsSeq(r.verbs) {
			allowed, err := x.may(ctx, r, verb)
			if err != nil {
				x.add("rights", outcomeWarning, "cannot be asked for: %s", explain(err))
				return
			}
			if !allowed {
				lacking = append(lacking, verb)
			}
		}
		what := fmt.Sprintf("%s %s in namespace %s", strings.Join(strings.Fields(r.verbs), ", "), r.resource, x.c.namespace)
		switch {
		case len(lacking) == 0:
			x.add("rights", outcomeOK, "you may %s", what)
		case r.needed:
			x.add("rights", outcomeFailed, "you may not %s %s in namespace %s (%s): ask for a RoleBinding to the ClusterRole view or edit",
				strings.Join(lacking, ", "), r.resource, x.c.namespace, r.use)
		default:
			x.add("rights", outcomeWarning, "you may not %s %s in namespace %s, for: %s", strings.Join(lacking, ", "), r.resource,
				x.c.namespace, r.use)
		}
	}
}

func (x *examination) may(ctx context.Context, r right, verb string) (bool, error) {
	resource, sub, _ := strings.Cut(r.resource, "/")
	review, err := x.c.core.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: x.c.namespace, Group: r.group, Resource: resource, Subresource: sub, Verb: verb}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// gpus that nodes offer.
func (x *examination) gpus(ctx context.Context) {
	var nodes corev1.NodeList
	err := x.c.List(ctx, &nodes)
	switch {
	case apierrors.IsForbidden(err):
		x.add("GPUs", outcomeWarning, "you may not list nodes: whether there are GPUs is not known")
		return
	case err != nil:
		x.add("GPUs", outcomeWarning, "%s", explain(err))
		return
	}
	found := map[corev1.ResourceName]int64{}
	for i := range nodes.Items {
		for name, quantity := range nodes.Items[i].Status.Allocatable {
			vendor, _, _ := strings.Cut(string(name), "/")
			if slices.Contains([]string{"nvidia.com", "amd.com", "gpu.intel.com"}, vendor) && !quantity.IsZero() {
				found[name] += quantity.Value()
			}
		}
	}
	if len(found) == 0 {
		x.add("GPUs", outcomeOK, "none of the %d nodes has a GPU: jobs train on CPUs (spec.resources.gpus: 0)", len(nodes.Items))
		return
	}
	var texts []string
	for name, n := range found {
		texts = append(texts, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(texts)
	x.add("GPUs", outcomeOK, "%s on %d nodes; spec.resources.gpuResource names one kind", strings.Join(texts, ", "), len(nodes.Items))
}

// storage of a job, as far as it can be seen from here.
func (x *examination) storage(ctx context.Context, job *v1.ResNetTrainingJob) {
	if strings.HasPrefix(job.Spec.Storage.URI, "file://") {
		x.add("storage", outcomeOK, "%s is a folder in the pods, which cannot be looked at from here", job.Spec.Storage.URI)
		return
	}
	r, err := x.c.results(ctx, job)
	if err != nil {
		x.add("storage", outcomeFailed, "%s", explain(err))
		return
	}
	defer r.Close()
	infos, err := r.List(quiet(ctx), "")
	switch {
	case err != nil:
		x.add("storage", outcomeFailed, "%s", explain(err))
		return
	case job.UID == "":
		x.add("storage", outcomeOK, "%s can be listed", publicURI(job.Spec.Storage.URI))
	default:
		x.add("storage", outcomeOK, "%s can be listed, and holds %d files", r.URI(""), len(infos))
	}
	x.data(ctx, job)
}

// data in a bucket.
func (x *examination) data(ctx context.Context, job *v1.ResNetTrainingJob) {
	d := &job.Spec.Dataset
	if !strings.HasPrefix(d.URI, "s3://") {
		x.add("data", outcomeOK, "%s, which is not looked at from here", cmp.Or(publicURI(d.URI), string(d.Format)))
		return
	}
	st, closeWay, err := x.c.openStorage(ctx, job.Namespace, d.URI, job.Spec.Storage.S3)
	if err != nil {
		x.add("data", outcomeFailed, "%s", explain(err))
		return
	}
	defer closeWay()
	infos, err := st.List(quiet(ctx), "")
	if err == nil && len(infos) == 0 { // an archive is no folder
		folder, name := d.URI[:strings.LastIndexByte(d.URI, '/')+1], d.URI[strings.LastIndexByte(d.URI, '/')+1:]
		archive, closeArchive, openErr := x.c.openStorage(ctx, job.Namespace, folder, job.Spec.Storage.S3)
		if openErr == nil {
			defer closeArchive()
			infos, err = archive.List(quiet(ctx), name)
		}
	}
	switch {
	case err != nil:
		x.add("data", outcomeFailed, "%s", explain(err))
	case len(infos) == 0:
		x.add("data", outcomeFailed, "%s is empty: put the files of %s there (docs/data.md); kubectl resnet init does so", d.URI, d.Format)
	default:
		x.add("data", outcomeOK, "%s has %d files", d.URI, len(infos))
	}
}

// print shows the findings; errSaid if one has failed.
func (x *examination) print(p *plugin, output string) error {
	if output != "" {
		if err := writeValue(p.Out, output, x.findings); err != nil {
			return err
		}
	} else {
		out := tabwriter.NewWriter(p.Out, 0, 8, 2, ' ', 0)
		for _, f := range x.findings {
			fmt.Fprintf(out, "%s\t%s\t%s\n", f.Outcome, f.Check, f.Message)
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(x.findings, func(f finding) bool { return f.Outcome == outcomeFailed }) {
		return errSaid
	}
	return nil
}
