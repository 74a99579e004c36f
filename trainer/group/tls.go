package group

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
)

// identity is a key that a process makes for one attempt, and a certificate that it signs with it. The key never leaves
// the process. The others know the certificate by its fingerprint, and by nothing else: no name, authority or date.
type identity struct {
	certificate tls.Certificate
	fingerprint string // SHA-256 of the certificate, in hexadecimal
}

func newIdentity() (*identity, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	return &identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, fingerprint(der)}, err
}

func fingerprint(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return hex.EncodeToString(sum[:])
}

var errStranger = errors.New("the certificate is not that of a node of this attempt")

// config for connections between two nodes, in both directions. Each shows its certificate and proves to have the key
// of it, and accepts those that known accepts.
func (id *identity) config(known func(fingerprint string) bool) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{id.certificate},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // of names, authorities and dates; VerifyConnection takes their place
		VerifyConnection: func(s tls.ConnectionState) error {
			if !known(peerFingerprint(s)) {
				return errStranger
			}
			return nil
		},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // from the first byte on it is throughput that counts
	}
}

func peerFingerprint(s tls.ConnectionState) string {
	if len(s.PeerCertificates) == 0 {
		return ""
	}
	return fingerprint(s.PeerCertificates[0].Raw)
}
