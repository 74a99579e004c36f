package faults

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/test/syncbuffer"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// TestVersityGW trains, with a kill in between and a zombie, on another implementation of S3, over TLS with a certificate
// of an authority that only spec.storage.s3.caBundle knows.
func TestVersityGW(t *testing.T) {
	ca := storetest.NewCA(t)
	spec := &v1.S3Spec{Endpoint: versityGW(t, ca), Region: "us-east-1", CABundle: ca.Bundle}
	w := newWorld(t, "s3://"+storetest.Bucket+"/faults", spec, spec)
	w.interrupt()
	zombie := w.start()
	zombie.until("msg=training")
	zombie.Process.Signal(syscall.SIGSTOP)
	w.finish()
	zombie.Process.Signal(syscall.SIGCONT)
	if code := zombie.wait(); code != contract.ExitFenced && code != contract.ExitDone {
		t.Errorf("the zombie ended with %d:\n%s", code, zombie.output)
	}
	w.check()
	w.compare()

	w.s3 = &v1.S3Spec{Endpoint: spec.Endpoint, Region: spec.Region}
	p := w.run(contract.ExitConfig)
	if !strings.Contains(p.output.String(), "into spec.storage.s3.caBundle") {
		t.Errorf("without caBundle:\n%s", p.output)
	}
}

// versityGW starts the server with an empty bucket and returns its endpoint.
func versityGW(t *testing.T, ca *storetest.CA) string {
	t.Helper()
	program := os.Getenv("VERSITYGW_BIN")
	if program == "" {
		t.Skip("VERSITYGW_BIN is not set: use make test-faults")
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, key := ca.Issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	for path, content := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"root/" + storetest.Bucket, "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	cmd := exec.Command(program, "--port", address, "--cert", certFile, "--key", keyFile, "--quiet",
		"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "root"))
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+storetest.AccessKey, "ROOT_SECRET_KEY="+storetest.SecretKey)
	output := &syncbuffer.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Setenv("AWS_ACCESS_KEY_ID", storetest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", storetest.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return "https://" + address
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not listen: %s", output)
		}
	}
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
