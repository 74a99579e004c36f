package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// creators is how many hands create jobs at a time.
const creators = 16

// jobEpochs is the length of every training.
const jobEpochs = 100

func trainingJob(i int) *v1.ResNetTrainingJob {
	return &v1.ResNetTrainingJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("job-%05d", i)},
		Spec: v1.ResNetTrainingJobSpec{
			Dataset:  v1.DatasetSpec{Format: v1.Synthetic},
			Training: v1.TrainingSpec{Epochs: jobEpochs},
			Storage:  v1.StorageSpec{URI: "s3://models"},
		},
	}
}

// plainJob is the child that the manager makes, without its labels and its owner.
func plainJob(child *batchv1.Job, i int) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("job-%05d", i)}, Spec: *child.Spec.DeepCopy()}
	job.Spec.Selector = nil
	job.Spec.Template.Labels = map[string]string{"app.kubernetes.io/name": "plain"}
	return job
}

// create makes n objects at full speed and says when each was sent.
func (c *cluster) create(ctx context.Context, n int, object func(i int) client.Object) (map[string]time.Time, error) {
	var mu sync.Mutex
	var failed error
	sent := map[string]time.Time{}
	var wait sync.WaitGroup
	for hand := range creators {
		wait.Go(func() {
			for i := hand; i < n; i += creators {
				o := object(i)
				now := time.Now()
				err := c.kube.Create(ctx, o)
				mu.Lock()
				sent[o.GetName()] = now
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return sent, failed
}

// follow calls see for every change of a kind of object until see returns true. Informers come back when the API server
// ends a watch, as it does with slow clients.
func (c *cluster) follow(ctx context.Context, object client.Object, see func(client.Object) (done bool)) (wait func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	watch, err := cache.New(c.config, cache.Options{Scheme: c.kube.Scheme(), DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		cancel()
		return nil, err
	}
	informer, err := watch.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		cancel()
		return nil, err
	}
	all := make(chan struct{})
	over := false
	look := func(o any) {
		if object, ok := o.(client.Object); ok && !over && see(object) {
			over = true
			close(all)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: look, UpdateFunc: func(_, o any) { look(o) }})
	if err != nil {
		cancel()
		return nil, err
	}
	go func() { _ = watch.Start(ctx) }()
	watch.WaitForCacheSync(ctx)
	return func() error {
		defer cancel()
		for {
			select {
			case <-all:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
				if err := c.check(); err != nil {
					return err
				}
			}
		}
	}, nil
}

// template is the child of a first job, which is then deleted.
func (c *cluster) template(ctx context.Context) (*batchv1.Job, error) {
	if err := c.kube.Create(ctx, trainingJob(0)); err != nil {
		return nil, err
	}
	var child *batchv1.Job
	wait, err := c.follow(ctx, &batchv1.Job{}, func(o client.Object) bool {
		child = o.(*batchv1.Job)
		return true
	})
	if err != nil {
		return nil, err
	}
	return child, wait()
}

// runPlain runs n Jobs and returns how long it took, and how long each waited for its pod.
func (c *cluster) runPlain(
	ctx context.Context, child *batchv1.Job, n int,
) (took time.Duration, toPod []time.Duration, err error) {
	pods, complete := map[string]time.Time{}, map[string]bool{}
	podsSeen, err := c.follow(ctx, &corev1.Pod{}, firstSeen(pods, batchv1.JobNameLabel, n))
	if err != nil {
		return 0, nil, err
	}
	wait, err := c.follow(ctx, &batchv1.Job{}, func(o client.Object) bool {
		for _, cond := range o.(*batchv1.Job).Status.Conditions {
			if cond.Type == batchv1.JobComplete && cond.Status == corev1.ConditionTrue {
				complete[o.GetName()] = true
			}
		}
		return len(complete) == n
	})
	if err != nil {
		return 0, nil, err
	}
	began := time.Now()
	sent, err := c.create(ctx, n, func(i int) client.Object { return plainJob(child, i) })
	if err != nil {
		return 0, nil, err
	}
	if err := wait(); err != nil {
		return 0, nil, err
	}
	took = time.Since(began)
	return took, waits(sent, pods), podsSeen()
}

// firstSeen notes when an object first came for each value of a label, until n of them have.
func firstSeen(at map[string]time.Time, label string, n int) func(client.Object) bool {
	return func(o client.Object) bool {
		name := o.GetLabels()[label]
		if _, ok := at[name]; !ok {
			at[name] = time.Now()
		}
		return len(at) == n
	}
}

// waits are the times from sending to seeing.
func waits(sent, seen map[string]time.Time) (all []time.Duration) {
	for name, at := range sent {
		all = append(all, seen[name].Sub(at))
	}
	return all
}

// runOurs runs n training jobs and returns how long it took, and how long each waited for its child.
func (c *cluster) runOurs(ctx context.Context, n int) (took time.Duration, toChild []time.Duration, err error) {
	children, finished := map[string]time.Time{}, map[string]bool{}
	childrenSeen, err := c.follow(ctx, &batchv1.Job{}, firstSeen(children, childjob.LabelJobName, n))
	if err != nil {
		return 0, nil, err
	}
	wait, err := c.follow(ctx, &v1.ResNetTrainingJob{}, func(o client.Object) bool {
		switch job := o.(*v1.ResNetTrainingJob); job.Status.State {
		case v1.StateSucceeded, v1.StateFailed:
			finished[job.Name] = job.Status.State == v1.StateSucceeded
		}
		return len(finished) == n
	})
	if err != nil {
		return 0, nil, err
	}
	began := time.Now()
	sent, err := c.create(ctx, n, func(i int) client.Object { return trainingJob(i) })
	if err != nil {
		return 0, nil, err
	}
	if err := wait(); err != nil {
		return 0, nil, err
	}
	took = time.Since(began)
	if err := childrenSeen(); err != nil {
		return 0, nil, err
	}
	for name, ok := range finished {
		if !ok {
			return 0, nil, fmt.Errorf("%s failed", name)
		}
	}
	return took, waits(sent, children), nil
}
