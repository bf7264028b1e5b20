package s3test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/minio/minio-go/v7"
)

// TestACrashLosesNoMultipartUpload: neither one that is under way nor one that is
// being completed.
func TestACrashLosesNoMultipartUpload(t *testing.T) {
	s := Start(t)
	s.Bucket(t, "uploads")
	core := minio.Core{Client: s.Client(t)}
	id, err := core.NewMultipartUpload(t.Context(), "uploads", "a/b", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := core.PutObjectPart(t.Context(), "uploads", "a/b", id, 1, bytes.NewReader([]byte("abc")), 3, minio.PutObjectPartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	// As versitygw does before it brings the parts together.
	found, err := filepath.Glob(filepath.Join(s.dir, "uploads", ".sgwtmp", "multipart", "*", id))
	if err != nil || len(found) != 1 {
		t.Fatalf("its folder: %q, %v", found, err)
	}
	if err := os.Rename(found[0], found[0]+"."+part.ETag+"-1.inprogress"); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := core.CompleteMultipartUpload(t.Context(), "uploads", "a/b", id,
		[]minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if o, err := core.StatObject(t.Context(), "uploads", "a/b", minio.StatObjectOptions{}); err != nil || o.Size != 3 {
		t.Errorf("the object: %d bytes, %v", o.Size, err)
	}
}
