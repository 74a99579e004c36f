package controllers

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

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
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.Pod{}, ownerIndex, ownerOf); err != nil {
		return err
	}
	r.events = newEventReader(r.APIReader, r.Clock)
	backoff := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minErrorBackoff, maxErrorBackoff)
	edited := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		Named("resnettrainingjob").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Concurrency,
			EnableWarmup:            ptr.To(true), // a manager that waits for its turn has the cache ready
			RateLimiter:             backoff,
			ReconciliationTimeout:   reconcileTimeout,
		}).
		For(&v1.ResNetTrainingJob{}, builder.WithPredicates(edited)).
		Owns(&batchv1.Job{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(jobOfPod)).
		WatchesRawSource(source.Channel(r.puller.changes, progressHandler)).
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

func jobOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[childjob.LabelJobName]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}

// lowPriority is that of a reconcile for the progress of a job, or at one of its times: what happened to a job, and new
// ones, go before. With more of them than the API server can take, new jobs would wait for the progress of all others.
var lowPriority = ptr.To(handler.LowPriority)

// progressHandler reconciles a job whose trainer made progress.
var progressHandler = handler.TypedFuncs[types.NamespacedName, reconcile.Request]{
	GenericFunc: func(_ context.Context, e changeEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		request := reconcile.Request{NamespacedName: e.Object}
		if q, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
			q.AddWithOpts(priorityqueue.AddOpts{Priority: lowPriority}, request)
			return
		}
		queue.Add(request)
	},
}

// changeEvent is what the puller sends when a trainer made progress.
type changeEvent = event.TypedGenericEvent[types.NamespacedName]
