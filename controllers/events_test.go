package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	. "github.com/resnet-operator/resnet-operator/controllers/internal/fixture"
)

// eventServer is the API server of these tests.
type eventServer struct {
	client.Reader // panics where a method is missing below
	clock         *clocktesting.FakePassiveClock

	mu     sync.Mutex
	events []corev1.Event
	fails  error
	lists  []string // "namespace selector" of each
	pages  int
	answer chan struct{} // closed when lists are answered; nil for at once
}

func (s *eventServer) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	s.mu.Lock()
	from := 0
	if _, err := fmt.Sscan(o.Continue, &from); err != nil {
		s.lists = append(s.lists, o.Namespace+" "+o.FieldSelector.String())
	}
	s.pages++
	s.mu.Unlock()
	if s.answer != nil {
		<-s.answer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	var found []corev1.Event
	for _, e := range s.events {
		of := fields.Set{"involvedObject.kind": e.InvolvedObject.Kind, "reason": e.Reason}
		if e.InvolvedObject.Namespace == o.Namespace && o.FieldSelector.Matches(of) {
			found = append(found, e)
		}
	}
	to := min(len(found), from+int(o.Limit))
	page := list.(*corev1.EventList)
	if page.Items = found[from:to]; to < len(found) {
		page.Continue = fmt.Sprint(to)
	}
	return nil
}

// says adds an event about a Job in namespace team, or about a pod.
func (s *eventServer) says(kind, reason string, subject types.UID, message string, ago time.Duration) *corev1.Event {
	s.events = append(s.events, corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: "team", UID: subject}, Reason: reason,
		Message: message, LastTimestamp: After(-ago),
	})
	return &s.events[len(s.events)-1]
}

func (s *eventServer) reader() *eventReader { return newEventReader(s, s.clock) }

func (s *eventServer) after(d time.Duration) { s.clock.SetTime(s.clock.Now().Add(d)) }

func newEventServer() *eventServer {
	return &eventServer{clock: clocktesting.NewFakePassiveClock(Now.Time)}
}

// A quota that keeps a thousand jobs of a namespace waiting costs one list.
func TestOneListAnswersForTheWholeNamespace(t *testing.T) {
	const n = 1000
	s := newEventServer()
	for i := range n {
		s.says("Job", "FailedCreate", types.UID(fmt.Sprint(i)), fmt.Sprint("quota of ", i), 0)
	}
	r := s.reader()
	s.answer = make(chan struct{})
	ask := func() {
		var asking, asked sync.WaitGroup
		for i := range n {
			asking.Add(1)
			asked.Go(func() {
				asking.Done()
				child := Child(1)
				child.UID = types.UID(fmt.Sprint(i))
				if got, want := r.failedCreate(t.Context(), child), fmt.Sprint("quota of ", i); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			})
		}
		asking.Wait()
		if s.answer != nil {
			close(s.answer)
		}
		asked.Wait()
	}
	ask()
	if want := []string{"team involvedObject.kind=Job,reason=FailedCreate"}; !slices.Equal(s.lists, want) {
		t.Errorf("lists %q, want %q", s.lists, want)
	}
	if want := n / eventsPage; s.pages != want {
		t.Errorf("%d pages, want %d", s.pages, want)
	}
	s.answer = nil
	s.after(eventsValid - 1)
	ask()
	if len(s.lists) != 1 {
		t.Errorf("%d lists, want none while the first one is valid", len(s.lists))
	}
	s.after(1)
	ask()
	if len(s.lists) != 2 {
		t.Errorf("%d lists, want another one once the first is not valid any more", len(s.lists))
	}
}

// What is asked of one namespace, and of one kind of object, has an answer of its own.
func TestEachQuestionHasItsList(t *testing.T) {
	s := newEventServer()
	s.says("Job", "FailedCreate", "a", "quota", 0)
	s.says("Pod", "FailedMount", "a", "volume", 0)
	r, child, pod := s.reader(), Child(1), Pod(corev1.PodPending)
	child.UID, pod.UID = "a", "a"
	if got := r.failedCreate(t.Context(), child) + " " + r.failedMount(t.Context(), &pod); got != "quota volume" {
		t.Errorf("%q, want the quota of the Job and the volume of the pod", got)
	}
	child.Namespace = "other"
	if got := r.failedCreate(t.Context(), child); got != "" {
		t.Errorf("%q, of a Job in another namespace", got)
	}
	if want := []string{
		"team involvedObject.kind=Job,reason=FailedCreate",
		"team involvedObject.kind=Pod,reason=FailedMount",
		"other involvedObject.kind=Job,reason=FailedCreate",
	}; !slices.Equal(s.lists, want) {
		t.Errorf("lists %q, want %q", s.lists, want)
	}
}

// Old and new clients say in different fields when they last said something.
func TestTheNewestEventCounts(t *testing.T) {
	for name, last := range map[string]func(*corev1.Event){
		"LastTimestamp": func(e *corev1.Event) { e.LastTimestamp = Now },
		"EventTime": func(e *corev1.Event) {
			e.LastTimestamp, e.EventTime = metav1.Time{}, metav1.NewMicroTime(Now.Time)
		},
		"Series": func(e *corev1.Event) {
			e.LastTimestamp, e.EventTime = metav1.Time{}, metav1.NewMicroTime(Earlier.Time)
			e.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(Now.Time)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newEventServer()
			s.says("Job", "FailedCreate", "c-1", "long ago", time.Hour)
			last(s.says("Job", "FailedCreate", "c-1", "now", time.Hour))
			s.says("Job", "FailedCreate", "c-1", "a minute ago", time.Minute)
			s.says("Job", "FailedCreate", "another", "of another Job", 0)
			if got := s.reader().failedCreate(t.Context(), Child(1)); got != "now" {
				t.Errorf("%q, want the newest", got)
			}
		})
	}
}

// A list that fails is logged now and then, is not tried again at once, and leaves what was known before.
func TestAListThatFails(t *testing.T) {
	s := newEventServer()
	r := s.reader()
	logged := 0
	ctx := log.IntoContext(t.Context(), funcr.New(func(string, string) { logged++ }, funcr.Options{}))
	ask := func(want string) {
		t.Helper()
		if got := r.failedCreate(ctx, Child(1)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s.fails = errors.New("no answer")
	s.says("Job", "FailedCreate", "c-1", "quota", 0)
	for range 10 {
		ask("")
		s.after(time.Second)
	}
	if len(s.lists) != 1 || logged != 1 {
		t.Errorf("%d lists and %d lines in the log after 10 s, want one of each", len(s.lists), logged)
	}
	s.fails = nil
	s.after(eventsRetry)
	ask("quota")
	s.fails = errors.New("no answer")
	for range 5 {
		s.after(eventsRetry)
		ask("quota")
	}
	if len(s.lists) != 7 || logged > 4 {
		t.Errorf("%d lists and %d lines in the log, want 7 and at most 4", len(s.lists), logged)
	}
}

func TestListsThatNobodyAsksForAreForgotten(t *testing.T) {
	s := newEventServer()
	r := s.reader()
	ask := func(namespace string) {
		child := Child(1)
		child.Namespace = namespace
		r.failedCreate(t.Context(), child)
	}
	for i := range 100 {
		ask(fmt.Sprint("team-", i))
	}
	s.after(eventsUnused / 2)
	ask("team-1")
	s.after(eventsUnused / 2)
	ask("team-2")
	if len(r.lists) != 2 {
		t.Errorf("%d lists are kept, want those of the last minute: 2", len(r.lists))
	}
}
