// Package e2e runs whole jobs on a real cluster, through the manager that `make deploy` installed: real kubelet, real
// pods, real S3 server.
package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const (
	namespace       = "e2e"
	managers        = "resnet-operator" // namespace and name of the manager
	deadNode        = "unreachable-node"
	bucket          = "e2e"
	secretKey       = "resnet-demo-secret" // of test/cluster/minio.yaml
	clusterEndpoint = "http://minio.minio:9000"
)

var (
	kube client.Client
	s3   *minio.Client
)

func TestMain(m *testing.M) {
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "the cluster is not ready; `make test-e2e` makes it so:", err)
		os.Exit(1)
	}
	code := m.Run()
	// A failed run leaves its objects to look at; the next one begins by deleting them.
	if code == 0 {
		_ = kube.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	os.Exit(code)
}

func setUp(ctx context.Context) error {
	if err := v1.AddToScheme(scheme.Scheme); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	if kube, err = client.New(config, client.Options{Scheme: scheme.Scheme}); err != nil {
		return err
	}
	if err := connectS3(ctx); err != nil {
		return err
	}
	return makeNamespace(ctx)
}

func connectS3(ctx context.Context) error {
	var nodes corev1.NodeList
	if err := kube.List(ctx, &nodes); err != nil {
		return err
	}
	address := ""
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			address = a.Address
		}
	}
	var err error
	s3, err = minio.New(address+":30900", &minio.Options{Creds: credentials.NewStaticV4("resnet-demo", secretKey, "")})
	if err != nil {
		return err
	}
	if exists, err := s3.BucketExists(ctx, bucket); err != nil || exists {
		return err
	}
	return s3.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
}

// makeNamespace makes an empty namespace that enforces the restricted pod-security standard.
func makeNamespace(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	_ = kube.Delete(ctx, ns.DeepCopy())
	_ = kube.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: deadNode}}) // or its pods stay, and with them the namespace
	for range 120 {
		err := kube.Create(ctx, ns.DeepCopy())
		if err == nil {
			break
		}
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		time.Sleep(time.Second)
	}
	for name, key := range map[string]string{"s3-credentials": secretKey, "wrong-credentials": "not-the-key-of-minio"} {
		if err := kube.Create(ctx, s3Secret(name, key)); err != nil {
			return err
		}
	}
	return nil
}

// newJob parses a job as a user writes it; its storage is the test's bucket.
func newJob(t *testing.T, name, spec string) *v1.ResNetTrainingJob {
	t.Helper()
	job := &v1.ResNetTrainingJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &job.Spec); err != nil {
		t.Fatal(err)
	}
	return job
}

func create(t *testing.T, job *v1.ResNetTrainingJob) {
	t.Helper()
	if err := kube.Create(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, name string) *v1.ResNetTrainingJob {
	t.Helper()
	job := &v1.ResNetTrainingJob{}
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, job); err != nil {
		t.Fatal(err)
	}
	return job
}

// eventually waits until ok returns nil, and fails with its last error.
func eventually(t *testing.T, timeout time.Duration, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", timeout, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func waitForState(t *testing.T, name string, want v1.State, timeout time.Duration) *v1.ResNetTrainingJob {
	t.Helper()
	eventually(t, timeout, func() error {
		job := get(t, name)
		if job.Status.State == want {
			return nil
		}
		if job.Status.State == v1.StateFailed || job.Status.State == v1.StateSucceeded {
			t.Fatalf("%s is %s, want %s: %s", name, job.Status.State, want, say(job))
		}
		return fmt.Errorf("%s is %s, want %s: %s", name, job.Status.State, want, say(job))
	})
	return get(t, name)
}

// say is the explanation that a user reads.
func say(job *v1.ResNetTrainingJob) string {
	for _, kind := range []string{v1.ConditionFailed, v1.ConditionComplete, v1.ConditionProgressing} {
		if c := meta.FindStatusCondition(job.Status.Conditions, kind); c != nil {
			return c.Reason + ": " + c.Message
		}
	}
	return "no condition"
}

func objects(t *testing.T, prefix string) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	for o := range s3.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		keys[strings.TrimPrefix(o.Key, prefix)] = true
	}
	return keys
}

// object reads one of a job's folder.
func object(t *testing.T, job *v1.ResNetTrainingJob, key string) []byte {
	t.Helper()
	o, err := s3.GetObject(t.Context(), bucket, prefixOf(job)+key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	content, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("kubectl", append([]string{"-n", namespace}, args...)...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("kubectl %s: %s", strings.Join(args, " "), exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// checkNoSecret fails if the key of the S3 account stands anywhere that a reader of the namespace, or of the manager's
// log, can see.
func checkNoSecret(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "resnetjobs,jobs,pods,events", "-o", "yaml"},
		{"logs", "-n", managers, "deployment/" + managers},
	} {
		text := []byte(kubectl(t, args...))
		for _, secret := range []string{secretKey, base64.StdEncoding.EncodeToString([]byte(secretKey)), "not-the-key-of-minio"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("kubectl %s shows a secret", strings.Join(args, " "))
			}
		}
	}
}
