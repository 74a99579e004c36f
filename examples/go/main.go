// Applies a ResNetTrainingJob and follows it to its end: the API from Go, with types and without YAML.
//
//	go run ./examples/go --namespace team-a --data s3://datasets/fashion-mnist --results s3://models
//
// It exits with 0 if the job succeeded. Run again, it changes nothing and follows the same job.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	ac "github.com/resnet-operator/resnet-operator/api/v1/applyconfiguration/api/v1"
)

func main() {
	namespace := flag.String("namespace", "default", "namespace of the job")
	name := flag.String("name", "from-go", "name of the job")
	data := flag.String("data", "s3://datasets/fashion-mnist", "folder with the files of Fashion-MNIST")
	results := flag.String("results", "s3://models", "where results go")
	flag.Parse() // --kubeconfig comes with package config
	if err := run(context.Background(), *namespace, *name, *data, *results); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, namespace, name, data, results string) error {
	cfg, err := config.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		return err
	}
	kube, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	// Server-side apply: what is not named here stays as it is, or gets its default.
	job := ac.ResNetTrainingJob(name, namespace).WithSpec(ac.ResNetTrainingJobSpec().
		WithDataset(ac.DatasetSpec().WithFormat(v1.FashionMNIST).WithURI(data)).
		WithTraining(ac.TrainingSpec().WithEpochs(5)).
		WithStorage(ac.StorageSpec().WithURI(results)))
	if err := kube.Apply(ctx, job, client.FieldOwner("example")); err != nil {
		return err
	}
	return follow(ctx, kube, namespace, name)
}

// follow prints what the job reaches until it ends. The API server ends a watch after some minutes; a new one begins with
// what is then.
func follow(ctx context.Context, kube client.WithWatch, namespace, name string) error {
	for ctx.Err() == nil {
		changes, err := kube.Watch(ctx, &v1.ResNetTrainingJobList{}, client.InNamespace(namespace),
			client.MatchingFields{"metadata.name": name})
		if err != nil {
			return err
		}
		for change := range changes.ResultChan() {
			job, ok := change.Object.(*v1.ResNetTrainingJob)
			if !ok {
				break // an error, such as an expired resource version
			}
			if change.Type == watch.Deleted {
				return errors.New("the job was deleted")
			}
			print(job.Status)
			if meta.IsStatusConditionTrue(job.Status.Conditions, v1.ConditionComplete) {
				fmt.Println("model:", job.Status.Artifacts.Model)
				return nil
			}
			if c := meta.FindStatusCondition(job.Status.Conditions, v1.ConditionFailed); c != nil {
				return fmt.Errorf("%s: %s", c.Reason, c.Message)
			}
		}
		changes.Stop()
	}
	return ctx.Err()
}

// print shows the numbers of a status.
func print(s v1.ResNetTrainingJobStatus) {
	fmt.Print(s.State)
	if p := s.Progress; p != nil {
		fmt.Printf(", epoch %d of %d, step %d of %d", p.Epoch, p.Epochs, p.Step, p.Steps)
		if p.Loss != nil {
			fmt.Printf(", loss %g", *p.Loss)
		}
		if p.Accuracy != nil {
			fmt.Printf(", accuracy %g", *p.Accuracy)
		}
		if p.ETASeconds > 0 {
			fmt.Printf(", %d s left", p.ETASeconds)
		}
	}
	fmt.Println()
}
