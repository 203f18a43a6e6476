// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// certificate is a self-signed certificate with its key.
type certificate struct {
	*x509.Certificate
	pair tls.Certificate
}

func selfSigned(t *testing.T, address string, from, to time.Time) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "another server"},
		NotBefore:             from,
		NotAfter:              to,
		IPAddresses:           []net.IP{net.ParseIP(address)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{parsed, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// signedWith returns a server's certificate and that of the authority that signed it with
// the algorithm.
func signedWith(t *testing.T, algorithm x509.SignatureAlgorithm) (pair tls.Certificate, authority *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(template, parent *x509.Certificate) *x509.Certificate {
		t.Helper()
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(2), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		issued, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return issued
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true}
	authority = issue(root, root)
	leaf := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")}, SignatureAlgorithm: algorithm,
	}, authority)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}, authority
}

// pemOf returns a certificate as a CA bundle.
func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
