package store

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store/storetest"
)

// TestTLS: what a server with a certificate of its own authority gives, and what is said if it cannot be trusted.
func TestTLS(t *testing.T) {
	quiet(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
	ca, other := storetest.NewCA(t), storetest.NewCA(t)
	notFound := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	})
	serve := func(ip string, notAfter time.Time) string {
		cert, key := ca.Issue(t, ip, notAfter)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(notFound)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.Config.ErrorLog = quietLog
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	later := time.Now().Add(time.Hour)
	good := serve("127.0.0.1", later)
	plain := httptest.NewServer(notFound)
	t.Cleanup(plain.Close)
	for name, test := range map[string]struct {
		endpoint, bundle, want string
	}{
		"trusted":         {good, ca.Bundle, "not found"},
		"one of several":  {good, "# mine\n" + other.Bundle + "# and theirs\n" + ca.Bundle, "not found"},
		"unknown":         {good, "", "put the certificate of the authority that signed the server's into spec.storage.s3.caBundle"},
		"another":         {good, other.Bundle, "into spec.storage.s3.caBundle"},
		"expired":         {serve("127.0.0.1", time.Now().Add(-time.Hour)), ca.Bundle, "renew the server's certificate, or correct the clock"},
		"of another host": {serve("127.0.0.2", later), ca.Bundle, "use a name that the server's certificate holds"},
		"http to https":   {strings.Replace(good, "https", "http", 1), "", "the server speaks https: use https://"},
		"https to http":   {strings.Replace(plain.URL, "http", "https", 1), ca.Bundle, "the server speaks http: use http://"},
	} {
		t.Run(name, func(t *testing.T) {
			st := openTestS3(t, "s3://models/p", v1.S3Spec{Endpoint: test.endpoint, Region: "us-east-1", CABundle: test.bundle})
			_, _, err := st.Get(t.Context(), "k")
			want := contract.ExitConfig
			if test.want == "not found" {
				want = contract.ExitUnexpected
			}
			if exit.Code(err) != want || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit code %d: %v\nwant %s", exit.Code(err), err, test.want)
			}
		})
	}
}

func TestMalformedCABundle(t *testing.T) {
	ca := storetest.NewCA(t).Bundle
	for bundle, want := range map[string]string{
		"mine":              "must be certificates in PEM format",
		ca + ca[:len(ca)/2]: "certificate 2 is cut off or not in PEM format",
		strings.ReplaceAll(ca, "CERTIFICATE", "PRIVATE KEY"):             "block 1 is a PRIVATE KEY: only certificates belong here",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n": "certificate 1: x509: malformed certificate",
	} {
		_, err := Open(t.Context(), "s3://models", &v1.S3Spec{Endpoint: "https://minio:9000", CABundle: bundle})
		if exit.Code(err) != contract.ExitConfig || err.Error() != "spec.storage.s3.caBundle: "+want {
			t.Errorf("exit code %d: %v\nwant %s", exit.Code(err), err, want)
		}
	}
}

var quietLog = log.New(io.Discard, "", 0)
