package s3store_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/s3store"
	"github.com/wsingest/wsingest/resume/s3store/s3test"
	"github.com/wsingest/wsingest/resume/storetest"
)

// options of a store on a server; every prefix is an empty storage.
func options(s *s3test.Server, prefix string) s3store.Options {
	return s3store.Options{
		Endpoint: s.Endpoint, Bucket: "uploads", Prefix: prefix, Insecure: true,
		Credentials:  credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""),
		SyncInterval: 50 * time.Millisecond,
		ScanInterval: s3store.Never,
	}
}

func TestKeepsTheContractOfAStore(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "uploads")
	var n atomic.Int32
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		o := options(server, fmt.Sprintf("test%d/", n.Add(1)))
		return storetest.Backend{Open: func() (resume.Store, error) { return s3store.New(o) }}
	})
}
