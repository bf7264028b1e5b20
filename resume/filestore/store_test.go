package filestore_test

import (
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
	"github.com/wsingest/wsingest/resume/storetest"
)

func TestKeepsTheContractOfAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		dir := t.TempDir()
		return storetest.Backend{
			PublishDir: t.TempDir(),
			Open:       func() (resume.Store, error) { return filestore.New(dir, filestore.Options{}) },
		}
	})
}
