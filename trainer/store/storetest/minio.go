// Package storetest starts a real S3 server for tests.
package storetest

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// The account of the server.
const (
	AccessKey = "storetest"
	SecretKey = "storetest-secret"
	Bucket    = "models"
)

// MinIO starts a MinIO server with an empty bucket, puts its account into the environment, and stops it with the test.
// The program is $MINIO_BIN; without it the test is skipped, but not in CI.
func MinIO(t *testing.T) *v1.S3Spec {
	t.Helper()
	program := os.Getenv("MINIO_BIN")
	switch {
	case program == "" && os.Getenv("CI") != "":
		t.Fatal("MINIO_BIN must name the minio program in CI")
	case program == "":
		t.Skip("MINIO_BIN is not set: use make test, or set it to a minio program (go build -C test/cluster/minio github.com/minio/minio)")
	}
	address := freeAddress(t)
	cmd := exec.Command(program, "server", t.TempDir(), "--address", address, "--quiet")
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+AccessKey, "MINIO_ROOT_PASSWORD="+SecretKey, "MINIO_BROWSER=off")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also if the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	spec := &v1.S3Spec{Endpoint: "http://" + address, Region: "us-east-1"}
	waitUntilReady(t, spec.Endpoint, &output)

	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), Bucket, minio.MakeBucketOptions{Region: spec.Region}); err != nil {
		t.Fatal(err)
	}
	return spec
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitUntilReady(t *testing.T, endpoint string, output *bytes.Buffer) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(endpoint + "/minio/health/ready")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("MinIO does not get ready: %s", output)
}
