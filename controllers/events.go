package controllers

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/resnet-operator/resnet-operator/api/contract"
)

// eventReader reads why a Job has no pod, and why a pod has not its volumes, which only events tell. The API server has
// neither an index nor a cache of them: a list reads all events of the namespace from etcd. So they are read when the
// policy asks, and one list answers for all objects of a namespace for a while.
//
// Events are for people only: one that cannot be read keeps nothing from going on.
type eventReader struct {
	reader client.Reader // past the cache
	clock  clock.PassiveClock

	mu     sync.Mutex
	lists  map[eventQuery]*eventList
	logged time.Time
}

// eventQuery selects events of one reason about objects of one kind.
type eventQuery struct{ namespace, kind, reason string }

// eventList is the answer to a query.
type eventList struct {
	usedAt time.Time // guarded by eventReader.mu

	mu     sync.Mutex // held while the list is read: others wait for it
	readAt time.Time
	valid  time.Duration
	newest map[types.UID]toldEvent // by subject
}

// toldEvent is what an event says, and when it last did.
type toldEvent struct {
	message string
	at      time.Time
}

const (
	// eventsValid is how long a list answers: for less than the time between two looks of a job (policy.nextLook).
	eventsValid = 1500 * time.Millisecond
	// eventsRetry is how long the list before one that failed answers.
	eventsRetry = 30 * time.Second
	// eventsTimeout is how long a list may keep a job waiting.
	eventsTimeout = 3 * time.Second
	// eventsUnused is how long a list is kept that nobody asks for.
	eventsUnused = time.Minute
	// eventsLogged is the least time between two complaints.
	eventsLogged = time.Minute
	// eventsPage is the number of events in an answer of the API server.
	eventsPage = 500
	// maxEventMessage limits what is kept of a message, in bytes. It is meant to be 1 KiB, which old clients do not heed.
	maxEventMessage = 2048
)

func newEventReader(reader client.Reader, clock clock.PassiveClock) *eventReader {
	return &eventReader{reader: reader, clock: clock, lists: map[eventQuery]*eventList{}}
}

// failedCreate is what the Job controller said last of why it cannot create the pod of a child; "" if it said nothing.
func (r *eventReader) failedCreate(ctx context.Context, child *batchv1.Job) string {
	return r.newest(ctx, eventQuery{child.Namespace, "Job", "FailedCreate"}, child.UID)
}

// failedMount is what the kubelet said last of why a pod has not its volumes; "" if it said nothing.
func (r *eventReader) failedMount(ctx context.Context, pod *corev1.Pod) string {
	return r.newest(ctx, eventQuery{pod.Namespace, "Pod", "FailedMount"}, pod.UID)
}

func (r *eventReader) newest(ctx context.Context, q eventQuery, subject types.UID) string {
	l := r.list(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if age := r.clock.Since(l.readAt); age < 0 || age >= l.valid {
		newest, err := r.read(ctx, q)
		if l.readAt, l.valid = r.clock.Now(), eventsValid; err == nil {
			l.newest = newest
		} else {
			l.valid = eventsRetry
			r.complain(ctx, fmt.Errorf("list events %s of %ss in namespace %s: %w", q.reason, q.kind, q.namespace, err))
		}
	}
	return l.newest[subject].message
}

// list returns that of a query, empty at first, and forgets those that are not used any more.
func (r *eventReader) list(q eventQuery) *eventList {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for other, l := range r.lists {
		if now.Sub(l.usedAt) >= eventsUnused {
			delete(r.lists, other)
		}
	}
	l := r.lists[q]
	if l == nil {
		l = &eventList{}
		r.lists[q] = l
	}
	l.usedAt = now
	return l
}

// read asks the API server, page by page.
func (r *eventReader) read(ctx context.Context, q eventQuery) (map[types.UID]toldEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, eventsTimeout)
	defer cancel()
	selector := client.MatchingFieldsSelector{Selector: fields.AndSelectors(
		fields.OneTermEqualSelector("involvedObject.kind", q.kind), fields.OneTermEqualSelector("reason", q.reason),
	)}
	newest := map[types.UID]toldEvent{}
	for more := ""; ; {
		var page corev1.EventList
		err := r.reader.List(ctx, &page,
			client.InNamespace(q.namespace), selector, client.Limit(eventsPage), client.Continue(more))
		if err != nil {
			return nil, err
		}
		for _, e := range page.Items {
			at := cmp.Or(e.LastTimestamp.Time, e.EventTime.Time)
			if e.Series != nil {
				at = e.Series.LastObservedTime.Time
			}
			if known, ok := newest[e.InvolvedObject.UID]; !ok || at.After(known.at) {
				newest[e.InvolvedObject.UID] = toldEvent{contract.Shorten(e.Message, maxEventMessage), at}
			}
		}
		if more = page.Continue; more == "" {
			return newest, nil
		}
	}
}

// complain logs an error, once a minute: what keeps one list from being read keeps others as well.
func (r *eventReader) complain(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.clock.Now(); now.Sub(r.logged) >= eventsLogged {
		r.logged = now
		log.FromContext(ctx).Error(err, "jobs that cannot start are not told why, as far as only events say")
	}
}
