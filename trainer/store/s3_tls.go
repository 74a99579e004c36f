package store

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/internal/network"
)

// transport is minio-go's own, which also trusts the authorities of caBundle. dial, if it is not nil, connects.
func transport(secure bool, caBundle string, dial func(context.Context, string, string) (net.Conn, error)) (
	*http.Transport, error) {
	authorities, err := parseCABundle(caBundle)
	if err != nil {
		return nil, exit.Errorf(contract.ExitConfig, "spec.storage.s3.caBundle: %w", err)
	}
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	t.DialContext = network.DialContext(5 * time.Second)
	if dial != nil {
		t.DialContext, t.Proxy = dial, nil
	}
	if secure && len(authorities) > 0 {
		pool := t.TLSClientConfig.RootCAs // set if there is SSL_CERT_FILE
		if pool == nil {
			if pool, err = x509.SystemCertPool(); err != nil {
				pool = x509.NewCertPool()
			}
		}
		for _, cert := range authorities {
			pool.AddCert(cert)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// parseCABundle decodes certificates in PEM. Text between them is allowed, as in the bundles of distributions.
func parseCABundle(bundle string) (certs []*x509.Certificate, err error) {
	rest := []byte(bundle)
	for {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		rest = after
		if block.Type != "CERTIFICATE" {
			return nil, exit.Errorf(contract.ExitConfig, "block %d is a %s: only certificates belong here", len(certs)+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, exit.Errorf(contract.ExitConfig, "certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, exit.Errorf(contract.ExitConfig, "certificate %d is cut off or not in PEM format", len(certs)+1)
	case bundle != "" && len(certs) == 0:
		return nil, exit.Errorf(contract.ExitConfig, "must be certificates in PEM format")
	}
	return certs, nil
}

// tlsAdvice says what to do if err means that the two sides will never agree on a connection; else it is "".
func tlsAdvice(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return "put the certificate of the authority that signed the server's into spec.storage.s3.caBundle"
	case errors.As(err, &host):
		return "use a name that the server's certificate holds"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the server's certificate, or correct the clock of this machine"
	case errors.As(err, &invalid):
		return "correct the server's certificate, or spec.storage.s3.caBundle"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the server speaks http: use http://"
	case strings.Contains(err.Error(), needsHTTPS):
		return "the server speaks https: use https://"
	}
	return ""
}
