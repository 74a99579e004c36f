package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Each mistake ends the job, at once where another attempt would end the same way, in a message that says what to fix. The
// jobs run side by side.
func TestMistakesAreExplained(t *testing.T) {
	truncated := []byte("\x1f\x8b\x08 this is no gzip file")
	for _, name := range []string{"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"} {
		if _, err := s3.PutObject(t.Context(), bucket, "truncated/"+name, bytes.NewReader(truncated), int64(len(truncated)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const (
		data  = `dataset: {format: Synthetic, maxTrainImages: 128, maxTestImages: 64}`
		small = `
training: {epochs: 1, batchSize: 64}
resources: {cpu: 200m, memory: 1Gi}
`
	)
	storage := func(uri, endpoint, secret string) string {
		return fmt.Sprintf("\nstorage: {uri: %q, s3: {endpoint: %q, credentialsSecret: {name: %s}}}", uri, endpoint, secret)
	}
	good := storage("s3://e2e/jobs", clusterEndpoint, "s3-credentials")
	cases := []struct {
		name, spec string
		reason     string
		say        []string // each is in the message
	}{
		{"missing-bucket", data + small + storage("s3://nowhere", clusterEndpoint, "s3-credentials"), "InvalidSpec", []string{"storage.uri", "nowhere"}},
		{"wrong-credentials", data + small + storage("s3://e2e/jobs", clusterEndpoint, "wrong-credentials"), "InvalidSpec", []string{"credentials"}},
		{"unreachable", data + small + storage("s3://e2e/jobs", "http://minio.minio:9", "s3-credentials") + once, "StorageUnreachable", []string{"http://minio.minio:9"}},
		{"truncated-data", `dataset: {format: FashionMNIST, uri: "s3://e2e/truncated"}` + small + good, "InvalidData", []string{"idx"}},
		{"no-such-data", `dataset: {format: CIFAR10, uri: "s3://e2e/empty"}` + small + good, "InvalidData", []string{"s3://e2e/empty", "data_batch_1.bin"}},
		{"batch-too-large", strings.Replace(data+small+good, "batchSize: 64", "batchSize: 4096", 1), "InvalidSpec", []string{"training.batchSize", "128"}},
	}
	for _, c := range cases {
		create(t, newJob(t, c.name, c.spec))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			eventually(t, 4*time.Minute, func() error {
				job := get(t, c.name)
				message := say(job)
				if job.Status.State != v1.StateFailed || !strings.HasPrefix(message, c.reason+": ") {
					return fmt.Errorf("%s, %s: want Failed, %s", job.Status.State, message, c.reason)
				}
				if s := job.Status; s.Attempt != 1 || s.Failures != 1 {
					t.Fatalf("attempt %d, failures %d: want one, for another would end the same way", s.Attempt, s.Failures)
				}
				for _, part := range c.say {
					if !strings.Contains(message, part) {
						return fmt.Errorf("%q does not name %q", message, part)
					}
				}
				t.Log(message)
				return nil
			})
		})
	}
	checkNoSecret(t)
	for _, c := range cases {
		kubectl(t, "delete", "resnetjob", c.name, "--wait=false")
	}
}
