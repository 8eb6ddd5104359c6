package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of all certificates. A lab lives for hours.
const lifetime = 30 * 24 * time.Hour

// authority is the cluster's certificate authority. It signs for servers and clients alike, as kubeadm's "ca" does.
type authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// pair is a certificate and its key as files in PEM.
type pair struct{ certificate, key string }

// newAuthority makes a certificate authority and its folder, in which everything it signs is written.
func newAuthority(folder string) (*authority, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateTemplate("csi-dm-lab")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		return nil, err
	}
	a := &authority{folder: folder, certificate: certificate, key: key}
	return a, errors.Join(writePEM(a.file(), "CERTIFICATE", encoded, 0o644), writeKey(filepath.Join(folder, "ca.key"), key))
}

// file is the authority's own certificate.
func (a *authority) file() string { return filepath.Join(a.folder, "ca.crt") }

// client makes a certificate for a client: user and groups are what Kubernetes takes common name and organizations for.
func (a *authority) client(name, user string, groups ...string) (pair, error) {
	template := certificateTemplate(user)
	template.Subject.Organization = groups
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(name, template)
}

// server makes a certificate for a server that is known by these host names and addresses.
func (a *authority) server(name string, hosts ...string) (pair, error) {
	template := certificateTemplate(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return a.sign(name, template)
}

func (a *authority) sign(name string, template *x509.Certificate) (pair, error) {
	files := pair{certificate: filepath.Join(a.folder, name+".crt"), key: filepath.Join(a.folder, name+".key")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return pair{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	return files, errors.Join(writePEM(files.certificate, "CERTIFICATE", encoded, 0o644), writeKey(files.key, key))
}

// accountKey makes the key that signs the tokens of service accounts and returns its file.
func (a *authority) accountKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	file := filepath.Join(a.folder, "service-accounts.key")
	return file, writeKey(file, key)
}

func certificateTemplate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		// User Mode Linux takes its clock from the host but may be behind by a moment.
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(lifetime),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "EC PRIVATE KEY", encoded, 0o600)
}

func writePEM(file, kind string, content []byte, mode os.FileMode) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), mode)
}
