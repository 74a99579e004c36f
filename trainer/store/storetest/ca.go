package storetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is an authority that no system knows.
type CA struct {
	// Bundle is its certificate in PEM, for spec.storage.s3.caBundle.
	Bundle string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// NewCA makes one.
func NewCA(t *testing.T) *CA {
	t.Helper()
	ca := &CA{cert: &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		Subject: pkix.Name{CommonName: "storetest"}, NotAfter: time.Now().Add(time.Hour)}}
	bundle, key := ca.sign(t, ca.cert)
	block, _ := pem.Decode(bundle)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	ca.Bundle, ca.cert, ca.key = string(bundle), cert, key
	return ca
}

// Issue returns the certificate of a server at an address, and its key, in PEM.
func (ca *CA) Issue(t *testing.T, ip string, notAfter time.Time) (cert, key []byte) {
	t.Helper()
	cert, private := ca.sign(t, &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.ParseIP(ip)}})
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign completes a certificate: ca's own if it has no key yet.
func (ca *CA) sign(t *testing.T, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), template.NotAfter.Add(-48*time.Hour)
	signer := ca.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}
