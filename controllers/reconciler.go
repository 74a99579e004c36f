package controllers

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/controllers/childjob"
	"github.com/resnet-operator/resnet-operator/controllers/policy"
)

// Reconciler moves ResNetTrainingJobs through their life.
type Reconciler struct {
	// Client must read its own writes (client.CacheOptions.EnableReadYourWritesConsistency): the policy relies on it to
	// count every failure once.
	client.Client
	// APIReader reads past the cache.
	APIReader client.Reader
	// Recorder emits events.
	Recorder events.EventRecorder
	// Clock tells the time of the API server.
	Clock clock.PassiveClock
	// Defaults of pods.
	Defaults childjob.Defaults
	// Concurrency is the number of jobs reconciled at a time.
	Concurrency int
	// DialPod connects to a trainer; nil is net.Dialer.
	DialPod func(ctx context.Context, network, address string) (net.Conn, error)
	// Registry takes the metrics.
	Registry prometheus.Registerer

	puller  *puller
	metrics *metrics
	events  *eventReader
	// conditionWritten is when a job last got another message of the condition Progressing: see policy.Observation.
	conditionWritten sync.Map // of types.NamespacedName to time.Time
	held             heldStatuses
	ended            endedPods
	latency          writeLatency
}

// +kubebuilder:rbac:groups=training.resnet-operator.dev,resources=resnettrainingjobs,verbs=list;watch;delete
// +kubebuilder:rbac:groups=training.resnet-operator.dev,resources=resnettrainingjobs/status,verbs=patch
// +kubebuilder:rbac:groups=training.resnet-operator.dev,resources=resnettrainingjobs/finalizers,verbs=update
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one job a step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := r.observe(ctx, req.NamespacedName)
	if err != nil || o == nil {
		return ctrl.Result{}, err
	}
	d := policy.Decide(*o, r.Clock.Now())
	if o.Denied, err = r.apply(ctx, o, d); err != nil {
		return ctrl.Result{}, err
	}
	if o.Denied != (policy.Denied{}) { // the part that was applied is: what now?
		d = policy.Decide(*o, r.Clock.Now())
	}
	r.follow(o, d)
	if r.held.hold(o, d) {
		return ctrl.Result{RequeueAfter: d.RequeueAfter, Priority: lowPriority}, nil
	}
	if err := r.writeStatus(ctx, o, d); err != nil {
		if apierrors.IsConflict(err) { // somebody changed the job meanwhile: decide anew
			return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if d.DeleteJob {
		return ctrl.Result{}, r.deleteJob(ctx, o.Job)
	}
	return ctrl.Result{RequeueAfter: d.RequeueAfter, Priority: lowPriority}, nil
}

// follow pulls progress from the pod of a live attempt, and from no other.
func (r *Reconciler) follow(o *policy.Observation, d policy.Decision) {
	job := client.ObjectKeyFromObject(o.Job)
	if d.ProgressURL == "" {
		r.puller.forget(job)
		return
	}
	r.puller.follow(job, o.Run(), d.PodName, d.ProgressURL)
}
