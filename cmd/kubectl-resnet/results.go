package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// publicURI is a URI without what is secret in it.
func publicURI(s string) string { return uri.Public(s) }

// patience is how long a storage that does not answer is asked again.
const patience = 10 * time.Second

// results are the folder of a job in its storage.
type results struct {
	store.Store
	job   *v1.ResNetTrainingJob
	close func()
}

// Close ends the way to the storage.
func (r *results) Close() { r.close() }

// folderURI of a job.
func folderURI(job *v1.ResNetTrainingJob) string {
	return strings.TrimRight(publicURI(job.Spec.Storage.URI), "/") + "/" +
		contract.JobPrefix(job.Namespace, job.Name, string(job.UID)) + "/"
}

// results opens the folder of a job.
func (c *cluster) results(ctx context.Context, job *v1.ResNetTrainingJob) (r *results, err error) {
	var st store.Store
	var closeWay func()
	if onVolume(job) {
		st, closeWay, err = c.openVolume(ctx, job)
	} else {
		st, closeWay, err = c.openStorage(ctx, job.Namespace, job.Spec.Storage.URI, job.Spec.Storage.S3)
	}
	if err != nil {
		return nil, err
	}
	return &results{store.Sub(st, contract.JobPrefix(job.Namespace, job.Name, string(job.UID))), job, closeWay}, nil
}

// openStorage opens what a URI in a spec names, as the user: with the account in the Secret if the user may read that, and
// through a port-forward to a server inside of the cluster.
func (c *cluster) openStorage(ctx context.Context, namespace, address string, s3 *v1.S3Spec) (store.Store, func(), error) {
	nothing := func() {}
	if strings.HasPrefix(address, "file://") {
		return nil, nothing, fmt.Errorf("%s is a folder in the pods of the job, which cannot be reached from here", address)
	}
	if s3 == nil {
		s3 = &v1.S3Spec{}
	}
	account, err := c.account(ctx, namespace, s3)
	if err != nil {
		return nil, nothing, err
	}
	way, err := c.wayTo(ctx, namespace, s3.Endpoint)
	if err != nil {
		return nil, nothing, err
	}
	access := store.Access{Account: account}
	if way != nil {
		access.Dial = way.dial
	}
	st, err := store.OpenBy(address, s3, access)
	if err != nil {
		way.close()
		return nil, nothing, err
	}
	return st, way.close, nil
}

// account in the Secret of a spec; none if the user may not read it but has one in the environment.
func (c *cluster) account(ctx context.Context, namespace string, s3 *v1.S3Spec) (a store.Account, err error) {
	if s3.CredentialsSecret == nil {
		return a, nil
	}
	name, own := s3.CredentialsSecret.Name, os.Getenv("AWS_ACCESS_KEY_ID") != ""
	secret, err := c.core.CoreV1().Secrets(namespace).Get(ctx, name, getOptions)
	switch {
	case apierrors.IsForbidden(err) && own:
		return a, nil
	case apierrors.IsForbidden(err):
		return a, fmt.Errorf("you may not read the Secret %s in namespace %s, which has the account for the storage: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to one of your own, or ask for the right to get this Secret",
			name, namespace)
	case apierrors.IsNotFound(err) && own:
		return a, nil
	case apierrors.IsNotFound(err):
		return a, fmt.Errorf("there is no Secret %s in namespace %s, which spec.storage.s3.credentialsSecret names: create it, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
			name, namespace)
	case err != nil:
		return a, err
	}
	return accountOf(secret)
}

func accountOf(secret *corev1.Secret) (a store.Account, err error) {
	for key, into := range map[string]*string{"AWS_ACCESS_KEY_ID": &a.AccessKeyID, "AWS_SECRET_ACCESS_KEY": &a.SecretAccessKey,
		"AWS_SESSION_TOKEN": &a.SessionToken} {
		*into = string(secret.Data[key])
	}
	if a.AccessKeyID == "" || a.SecretAccessKey == "" {
		return store.Account{}, fmt.Errorf("the Secret %s in namespace %s lacks AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY: make it anew by kubectl create secret generic",
			secret.Name, secret.Namespace)
	}
	return a, nil
}

// quiet is a context for reading a storage.
func quiet(ctx context.Context) context.Context {
	return store.WithPatience(telemetry.NewContext(ctx, slog.New(slog.DiscardHandler), nil), patience)
}

// attemptKeys are files of attempts: metrics/a2/steps.jsonl, logs/a2.log.
var attemptKeys = regexp.MustCompile(`^(?:metrics|logs)/a([0-9]{1,9})(?:/|\.log$)`)

// attempts that left metrics or a log, in their order.
func (r *results) attempts(ctx context.Context) ([]int32, error) {
	found := map[int32]bool{}
	for _, prefix := range []string{"metrics/", "logs/"} {
		infos, err := r.List(quiet(ctx), prefix)
		if err != nil {
			return nil, err
		}
		for _, info := range infos {
			if m := attemptKeys.FindStringSubmatch(info.Key); m != nil {
				n, err := strconv.ParseInt(m[1], 10, 32)
				if err == nil {
					found[int32(n)] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// read a file of the job's folder.
func (r *results) read(ctx context.Context, key string) ([]byte, error) {
	data, _, err := store.ReadAll(quiet(ctx), r, key)
	return data, err
}

// history of the job as the newest attempt that left one has it.
func (r *results) history(ctx context.Context) (*contract.History, error) {
	attempts, err := r.attempts(ctx)
	if err != nil {
		return nil, err
	}
	for _, attempt := range slices.Backward(attempts) {
		h := &contract.History{UID: string(r.job.UID), Attempt: attempt}
		steps, err := readLines[contract.StepMetrics](ctx, r, contract.StepsKey(attempt))
		if err != nil {
			return nil, err
		}
		epochs, err := readLines[contract.EpochMetrics](ctx, r, contract.MetricsKey(attempt))
		if err != nil {
			return nil, err
		}
		if h.Steps, h.Epochs = steps, epochs; len(steps)+len(epochs) > 0 {
			return h, nil
		}
	}
	return nil, r.empty()
}

// empty says that there is nothing where it should be.
func (r *results) empty() error {
	state := cmp.Or(r.job.Status.State, "not seen by the operator yet")
	if r.job.Status.FirstStepTime == nil {
		return fmt.Errorf("%s is empty: the job is %s and has made no step so far; kubectl resnet describe %s says why", r.URI(""), state, r.job.Name)
	}
	return fmt.Errorf("%s is empty, though the job is %s: a first epoch has to end, or else somebody has removed what was there", r.URI(""), state)
}

// readLines of a file with one JSON object a line; none if there is no such file.
func readLines[T any](ctx context.Context, r *results, key string) (records []T, err error) {
	data, err := r.read(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		var record T
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			return nil, fmt.Errorf("%s is damaged: line %d: %w", r.URI(key), len(records)+1, err)
		}
		records = append(records, record)
	}
	return records, nil
}

// sameJob reports whether the job still exists, and is not another one of its name.
func (c *cluster) sameJob(ctx context.Context, job *v1.ResNetTrainingJob) (*v1.ResNetTrainingJob, error) {
	now := &v1.ResNetTrainingJob{}
	err := c.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: job.Name}, now)
	if apierrors.IsNotFound(err) || err == nil && now.UID != job.UID {
		return nil, fmt.Errorf("the job %s was deleted", job.Name)
	}
	return now, err
}
