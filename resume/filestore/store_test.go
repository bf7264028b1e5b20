package filestore_test

import (
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore"
	"github.com/wsingest/wsingest/resume/storetest"
)

func TestKeepsTheContractOfAStore(t *testing.T) {
	keepsTheContract(t, func(s *filestore.Store) *filestore.Store { return s })
}

// Most uploads of the suite are small enough for the journal. These are the same
// without one.
func TestKeepsTheContractWithoutAJournal(t *testing.T) {
	keepsTheContract(t, (*filestore.Store).Filed)
}

func keepsTheContract(t *testing.T, kind func(*filestore.Store) *filestore.Store) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		dir := t.TempDir()
		return storetest.Backend{
			PublishDir: t.TempDir(),
			Open: func() (resume.Store, error) {
				s, err := filestore.New(dir, filestore.Options{})
				if err != nil {
					return nil, err
				}
				return kind(s), nil
			},
		}
	})
}
