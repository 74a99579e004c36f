package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Reconciler moves ResNetTrainingJobs through their life.
type Reconciler struct {
	// Client must read its own writes (client.CacheOptions.EnableReadYourWritesConsistency): decide relies on it to
	// count every failure once.
	client.Client
	// APIReader reads past the cache.
	APIReader client.Reader
	// Recorder emits events.
	Recorder events.EventRecorder
	// Clock tells the time of the API server.
	Clock clock.PassiveClock
	// Defaults of pods.
	Defaults PodDefaults
	// Concurrency is the number of jobs reconciled at a time.
	Concurrency int
	// DialPod connects to a trainer; nil is net.Dialer.
	DialPod func(ctx context.Context, network, address string) (net.Conn, error)
	// Registry takes the metrics.
	Registry prometheus.Registerer

	puller    *puller
	metrics   *metrics
	explained sync.Map // types.NamespacedName to time.Time: see observation.explainedAt
}

// +kubebuilder:rbac:groups=training.resnet-operator.dev,resources=resnettrainingjobs,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=training.resnet-operator.dev,resources=resnettrainingjobs/status,verbs=patch
// +kubebuilder:rbac:groups=training.resnet-operator.dev,resources=resnettrainingjobs/finalizers,verbs=update
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=get;list;watch;create;patch

// Reconcile brings one job a step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := r.observe(ctx, req.NamespacedName)
	if err != nil || o == nil {
		return ctrl.Result{}, err
	}
	d := decide(*o, r.Clock.Now())
	if o.refusal, err = r.apply(ctx, o, d); err != nil {
		return ctrl.Result{}, err
	}
	if o.refusal != (refusal{}) { // the part that was applied is: what now?
		d = decide(*o, r.Clock.Now())
	}
	r.follow(o, d)
	if err := r.writeStatus(ctx, o, d); err != nil {
		if apierrors.IsConflict(err) { // somebody changed the job meanwhile: decide anew
			return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if d.deleteJob {
		return ctrl.Result{}, r.deleteJob(ctx, o.job)
	}
	return ctrl.Result{RequeueAfter: d.requeueAfter}, nil
}

// follow pulls progress from the pod of a live attempt, and from no other.
func (r *Reconciler) follow(o *observation, d decision) {
	job := client.ObjectKeyFromObject(o.job)
	if d.progressURL == "" {
		r.puller.forget(job)
		return
	}
	r.puller.follow(job, o.job.UID, o.attempt, d.podName, d.progressURL)
}

// apply deletes and creates the children that decide named; in this order, so that no two of them work at a time.
func (r *Reconciler) apply(ctx context.Context, o *observation, d decision) (refusal, error) {
	for _, name := range d.delete {
		if err := r.deleteChild(ctx, o.job, name); err != nil {
			err = fmt.Errorf("delete Job %s: %w", name, err)
			if refused(err) {
				return refusal{delete: err.Error()}, nil
			}
			return refusal{}, err
		}
	}
	if d.create == 0 {
		return refusal{}, nil
	}
	child, err := childJob(o.job, d.create, r.Defaults)
	if err != nil {
		return refusal{}, err
	}
	err = r.Create(ctx, child)
	if apierrors.IsAlreadyExists(err) {
		err = r.ours(ctx, o.job, child.Name)
	}
	switch {
	case err == nil:
		return refusal{}, nil
	case errors.Is(err, errLeaving):
		return refusal{leaving: fmt.Sprintf("waits until Job %s, of an earlier job of this name, is gone", child.Name)}, nil
	}
	err = fmt.Errorf("create Job %s: %w", child.Name, err)
	if refused(err) {
		return refusal{create: err.Error()}, nil
	}
	return refusal{}, err
}

// deleteChild deletes a Job if it is a child of job.
func (r *Reconciler) deleteChild(ctx context.Context, job *v1.ResNetTrainingJob, name string) error {
	child := &batchv1.Job{}
	if err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name}, child); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(child, job) {
		return nil
	}
	// Foreground: the Job stays until its pods, which may be saving a checkpoint, are gone.
	err := r.Delete(ctx, child, client.PropagationPolicy(metav1.DeletePropagationForeground), client.Preconditions{UID: &child.UID})
	return client.IgnoreNotFound(err)
}

// deleteJob deletes a job whose time is over; its children follow by garbage collection. A job that was changed since it
// was observed, perhaps to live longer, is looked at again.
func (r *Reconciler) deleteJob(ctx context.Context, job *v1.ResNetTrainingJob) error {
	err := r.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion})
	return client.IgnoreNotFound(err)
}

const (
	// minErrorBackoff and maxErrorBackoff limit the wait after an error that the job's status does not tell of.
	minErrorBackoff = 20 * time.Millisecond
	maxErrorBackoff = 2 * time.Minute
	// reconcileTimeout ends a reconcile that waits for the cache, or for the API server, in vain.
	reconcileTimeout = time.Minute
)

// SetupWithManager registers the controller and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.puller = newPuller(r.Clock, 2*time.Second)
	if r.DialPod != nil {
		r.puller.transport.DialContext = r.DialPod
	}
	if err := mgr.Add(r.puller); err != nil {
		return err
	}
	r.metrics = newMetrics()
	jobs := &jobsCollector{reader: mgr.GetCache(), puller: r.puller, elected: mgr.Elected()}
	for _, c := range append(r.metrics.collectors(), jobs) {
		if err := r.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	for _, index := range []struct {
		of      client.Object
		name    string
		extract client.IndexerFunc
	}{
		{&corev1.Pod{}, ownerIndex, ownerOf},
		{&corev1.Event{}, subjectIndex, func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }},
		{&eventsv1.Event{}, subjectIndex, func(o client.Object) []string { return []string{string(o.(*eventsv1.Event).Regarding.UID)} }},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), index.of, index.name, index.extract); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("resnettrainingjob").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Concurrency,
			EnableWarmup:            ptr.To(true), // a manager that waits for its turn has the cache ready
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minErrorBackoff, maxErrorBackoff),
			ReconciliationTimeout:   reconcileTimeout,
		}).
		For(&v1.ResNetTrainingJob{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Owns(&batchv1.Job{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(jobOfPod)).
		Watches(&corev1.Event{}, handler.EnqueueRequestsFromMapFunc(jobOfRefusal)).
		Watches(&eventsv1.Event{}, handler.EnqueueRequestsFromMapFunc(jobOfFailedMount)).
		WatchesRawSource(source.Channel(r.puller.changes,
			handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, key types.NamespacedName) []reconcile.Request {
				return []reconcile.Request{{NamespacedName: key}}
			}))).
		Complete(r)
}

// ownerIndex finds the pods of a child Job by its name.
const ownerIndex = "controller-name"

func ownerOf(o client.Object) []string {
	if owner := metav1.GetControllerOf(o); owner != nil {
		return []string{owner.Name}
	}
	return nil
}

// subjectIndex finds the events about an object by its UID.
const subjectIndex = "subject-uid"

func jobOfRefusal(_ context.Context, event client.Object) []reconcile.Request {
	return jobOfSubject(event.(*corev1.Event).InvolvedObject, 1) // <job>-<attempt>
}

func jobOfFailedMount(_ context.Context, event client.Object) []reconcile.Request {
	return jobOfSubject(event.(*eventsv1.Event).Regarding, 3) // <job>-<attempt>-<index>-<random>
}

// jobOfSubject guesses the job from the name of a child, which adds so many parts to its own; a wrong guess is a job that
// does not exist.
func jobOfSubject(subject corev1.ObjectReference, parts int) []reconcile.Request {
	name := subject.Name
	for range parts {
		name = name[:max(0, strings.LastIndexByte(name, '-'))]
	}
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: subject.Namespace, Name: name}}}
}

func jobOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[LabelJobName]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}

// changeEvent is what the puller sends when a trainer made progress.
type changeEvent = event.TypedGenericEvent[types.NamespacedName]
