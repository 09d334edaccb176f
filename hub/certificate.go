package hub

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// certificateTick is how often at most the files are looked at.
const certificateTick = 10 * time.Second

// certificate is a pair of files that may be renewed while the hub runs: what
// renews certificates only writes files.
type certificate struct {
	certFile, keyFile string
	log               hclog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time
	looked  time.Time
	problem string // told once
}

func openCertificate(certFile, keyFile string, log hclog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	c.stamp, c.looked = c.stamps(), time.Now()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: TLSCert and TLSKey: %w", ErrConfig, err)
	}
	c.current = &pair
	return c, nil
}

// config serves the newest certificate that could be read. TLS 1.2 is what
// RFC 9325 still allows.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // agents' WebSockets need it
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certificateTick {
		return c.current
	}
	c.looked = time.Now()
	stamp := c.stamps()
	if stamp == c.stamp {
		return c.current
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil { // half written, perhaps: the one before serves on
		if c.problem != err.Error() {
			c.problem = err.Error()
			c.log.Warn("the new certificate can't be read: the one before is served", "err", err)
		}
		return c.current
	}
	c.current, c.stamp, c.problem = &pair, stamp, ""
	c.log.Info("new certificate", "file", c.certFile)
	return c.current
}

func (c *certificate) stamps() (stamp [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}
