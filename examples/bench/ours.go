package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wsingest/wsingest/middleware"
	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
)

// setup is what rows of wsingest differ in.
type setup struct {
	store  filestore.Options
	level  zapcore.Level
	secure bool
}

var (
	usual     = setup{}
	verbose   = setup{level: zap.DebugLevel}
	encrypted = setup{secure: true}
	// loose syncs as rarely as the store allows.
	loose = setup{store: filestore.Options{SyncBytes: 1 << 30, SyncInterval: time.Minute}}
)

// serveOurs is the middleware as the README has it, in front of an app that
// takes every file, with a log in a file.
func serveOurs(o setup) func(net.Listener, job) error {
	return func(l net.Listener, j job) error {
		c := zap.NewProductionConfig()
		c.Level = zap.NewAtomicLevelAt(o.level)
		c.Sampling = nil
		c.OutputPaths = []string{filepath.Join(j.Dir, "log")}
		log, err := c.Build()
		if err != nil {
			return err
		}
		o.store.Logger = log
		store, err := filestore.New(filepath.Join(j.Dir, "uploads"), o.store)
		if err != nil {
			return err
		}
		ingest, err := middleware.New(noting{store}, middleware.Options{Logger: log})
		if err != nil {
			return err
		}
		if o.secure {
			cert, err := selfSigned()
			if err != nil {
				return err
			}
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
		}
		taken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
		return http.Serve(l, ingest.Wrap(taken))
	}
}

// noting is a store that notes every write.
type noting struct{ resume.Store }

func (n noting) Open(ctx context.Context, o resume.OpenOptions) (resume.Claim, error) {
	c, err := n.Store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return notingClaim{c}, nil
}

type notingClaim struct{ resume.Claim }

func (c notingClaim) Write(p []byte) (int, error) {
	n, err := c.Claim.Write(p)
	written.note(n)
	return n, err
}

// WriteSum implements [resume.SumWriter].
func (c notingClaim) WriteSum(p []byte, crc uint32) (int, error) {
	n, err := resume.WriteSum(c.Claim, p, crc)
	written.note(n)
	return n, err
}

// selfSigned makes a certificate that no client of this program looks at.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
