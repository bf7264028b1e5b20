package filestore

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/wsingest/wsingest/resume"
	"github.com/wsingest/wsingest/resume/filestore/internal/slot"
)

// TestFormatIsAsDocumented holds FORMAT.md to the code: every number and every
// field it names, and none it leaves out.
func TestFormatIsAsDocumented(t *testing.T) {
	b, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)

	framed, err := slot.Append(nil, 0x0102030405060708, []byte("record"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		row  string
		at   int
		want string // the bytes there, "" if they depend on the rest
	}{
		{"| 0 | 8 | magic, `wsingest` |", 0, "wsingest"},
		{"| 8 | 4 | version, 1 |", 8, "\x01\x00\x00\x00"},
		{"| 12 | 4 | length of the record in bytes, at most 262112 |", 12, "\x06\x00\x00\x00"},
		{"| 16 | 8 | sequence number", 16, "\x08\x07\x06\x05\x04\x03\x02\x01"},
		{"| 24 | 4 | reserved, zero |", 24, "\x00\x00\x00\x00"},
		{"| 28 | 4 | CRC-32C of bytes 0 to 27 and of the record |", 28, ""},
		{"| 32 | | the record |", 32, "record"},
	} {
		if !strings.Contains(doc, c.row) {
			t.Errorf("FORMAT.md lacks %q", c.row)
		}
		if c.want != "" && string(framed[c.at:c.at+len(c.want)]) != c.want {
			t.Errorf("at %d there is %q, not %q", c.at, framed[c.at:c.at+len(c.want)], c.want)
		}
	}
	for what, holds := range map[string]bool{
		"version 1": slot.Version == 1,
		"`i * 262144`, two slots, at most 262112": slot.Size == 262144 && slot.Count == 2 && slot.MaxPayload == 262112,
		"`(n - 1) mod 2`":                         slot.Offset(1) == 0 && slot.Offset(2) == slot.Size && slot.Offset(3) == 0,
		"at most 1024 extents":                    resume.MaxExtents == 1024,
		"96 KiB of result":                        resume.MaxResultSize == 96<<10,
		"22 to 64 characters":                     resume.MinIDLength == 22 && resume.MaxIDLength == 64,
		"`.lock`, `clean`":                        lockName == ".lock" && clean == "clean",
		"`.part`, `.state`":                       partSuffix == ".part" && stateSuffix == ".state",
		"`.wsingest-<id>.tmp`":                    tempName("x", "/d/f") == "/d/.wsingest-x.tmp",
		"`.wsingest-<id>.json.tmp`":               sidecarTemp("x", "/d/f") == "/d/.wsingest-x.json.tmp",
		"`.upload.json`":                          resume.SidecarSuffix == ".upload.json",
		"part files without a record: 1 hour":     orphanAge.Hours() == 1,
	} {
		if !holds {
			t.Errorf("the code no longer has what FORMAT.md says: %s", what)
		}
	}
	holdJournal(t, doc)
	if o, err := (Options{}).withDefaults(); err != nil || o.SyncBytes != 8<<20 || o.SyncInterval.Milliseconds() != 200 {
		t.Errorf("the defaults are not 8 MiB and 200 ms: %+v, %v", o, err)
	}
	fields := regexp.MustCompile("(?s)### The record(.*?)\n## ").FindString(doc)
	for _, typ := range []reflect.Type{reflect.TypeFor[record](), reflect.TypeFor[hashMark](), reflect.TypeFor[intent]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(fields, "`"+name+"`") {
				t.Errorf("FORMAT.md does not explain the field %s", name)
			}
		}
	}
}

// holdJournal holds what FORMAT.md says of the journal to the code.
func holdJournal(t *testing.T, doc string) {
	t.Helper()
	_, doc, _ = strings.Cut(doc, "## The journal")
	seg := &segment{number: 0x0102030405060708, salt: 0x1112131415161718}
	e := entry{kind: entryMore, phase: resume.Complete[0], id: "id", at: 0x0203, updated: 0x0405, record: []byte("record"), data: []byte("data")}
	entry := e.appendTo(nil, seg.salt)
	for _, c := range []struct {
		row  string
		in   []byte
		at   int
		want string // the bytes there, "" if they depend on the rest
	}{
		{"| 0 | 8 | magic, `wsingjnl` |", seg.header(), 0, "wsingjnl"},
		{"| 8 | 4 | version, 1 |", seg.header(), 8, "\x01\x00\x00\x00"},
		{"| 12 | 4 | reserved, zero |", seg.header(), 12, "\x00\x00\x00\x00"},
		{"| 16 | 8 | number of the segment |", seg.header(), 16, "\x08\x07\x06\x05\x04\x03\x02\x01"},
		{"| 24 | 8 | salt, random |", seg.header(), 24, "\x18\x17\x16\x15\x14\x13\x12\x11"},
		{"| 32 | 4 | reserved, zero |", seg.header(), 32, "\x00\x00\x00\x00"},
		{"| 36 | 4 | CRC-32C of bytes 0 to 35 |", seg.header(), 36, ""},
		{"| 40 | | entries", append(seg.header(), entry...), 40, string(entry)},
		{"| 0 | 8 | the segment's salt |", entry, 0, "\x18\x17\x16\x15\x14\x13\x12\x11"},
		{"| 8 | 4 | CRC-32C of the entry from byte 12 on |", entry, 8, ""},
		{"| 12 | 1 | kind: 1 whole, 2 more, 3 gone |", entry, 12, "\x02"},
		{"| 13 | 1 | the first letter of the record's `phase` |", entry, 13, "c"},
		{"| 14 | 1 | length of the id |", entry, 14, "\x02"},
		{"| 15 | 1 | reserved, zero |", entry, 15, "\x00"},
		{"| 16 | 4 | length of the record |", entry, 16, "\x06\x00\x00\x00"},
		{"| 20 | 4 | length of the data |", entry, 20, "\x04\x00\x00\x00"},
		{"| 24 | 8 | where the data begins in the upload |", entry, 24, "\x03\x02\x00\x00\x00\x00\x00\x00"},
		{"| 32 | 8 | `updated`, seconds since 1970 |", entry, 32, "\x05\x04\x00\x00\x00\x00\x00\x00"},
		{"| 40 | | the id, the record as in a state file, the data", entry, 40, "idrecorddata"},
	} {
		if !strings.Contains(doc, c.row) {
			t.Errorf("FORMAT.md lacks %q", c.row)
		}
		if c.want != "" && string(c.in[c.at:c.at+len(c.want)]) != c.want {
			t.Errorf("%s: at %d there is %q, not %q", c.row, c.at, c.in[c.at:c.at+len(c.want)], c.want)
		}
	}
	for what, holds := range map[string]bool{
		"at most 64 KiB":                     smallUpload == 64<<10,
		"16 MiB":                             segmentSize == 16<<20,
		"four segments, four times":          carryAbove == 4,
		"at most 524,288 uploads":            maxHeld == 524288,
		"uploads in 1,024 segments":          maxSegments == 1024,
		"64 MiB of them in memory":           maxBuffered == 64<<20,
		"`journal/<number>.log`, 16 digits":  journalName == "journal" && segmentName(26) == "000000000000001a.log",
		"the first letters of phases differ": resume.Receiving[0] != resume.Complete[0] && resume.Complete[0] != resume.Delivered[0] && resume.Receiving[0] != resume.Delivered[0],
	} {
		if !holds {
			t.Errorf("the code no longer has what FORMAT.md says: %s", what)
		}
	}
}

// TestTheLargestRecordFits takes every limit of the contract at once, with the
// strings that JSON swells most.
func TestTheLargestRecordFits(t *testing.T) {
	for name, unit := range map[string]string{"control characters": "\x01", "no UTF-8": "\xff", "quotes": `"`, "escaped": "<"} {
		long := text(strings.Repeat(unit, resume.MaxNameLength))
		r := record{
			ID: resume.ID(strings.Repeat("x", resume.MaxIDLength)), Owner: long, Name: long, Type: long,
			Length: resume.Unbounded, Metadata: metadata{}, WantSHA256: true, Phase: resume.Delivered,
			Epoch: 1<<64 - 1, Created: 1 << 40, Updated: 1 << 40,
			Extents: []extent{{0, resume.Unbounded, 1<<32 - 1}}, SHA256: make([]byte, 32),
			Result:  make([]byte, resume.MaxResultSize),
			Publish: &intent{Path: text(strings.Repeat(unit, 4096)), Done: true, Copied: true, Sidecar: &[2]int64{1 << 40, 1<<32 - 1}},
		}
		// Short keys cost most; there are only so many of one byte.
		for left := resume.MaxMetadataSize; left > 2; left -= 2 {
			i := left / 2
			r.Metadata[string([]byte{byte(i), byte(i>>8) | unit[0]&0x80})] = ""
		}
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > slot.MaxPayload {
			t.Errorf("%s: %d bytes, at most %d fit", name, len(b), slot.MaxPayload)
		}
	}
	full := record{ID: resume.NewID(), Hash: &hashMark{State: make([]byte, 108)}, Owner: text(strings.Repeat("\x01", resume.MaxNameLength)),
		Metadata: metadata{"": strings.Repeat("\x01", resume.MaxMetadataSize)}}
	for i := range int64(resume.MaxExtents) {
		full.Extents = append(full.Extents, extent{resume.Unbounded - 2*i - 1, resume.Unbounded - 2*i, 1<<32 - 1})
	}
	if b, err := full.encode(); err != nil || len(b) > slot.MaxPayload {
		t.Errorf("with all extents: %d bytes, %v", len(b), err)
	}
}

// FuzzRecord: whatever is in a slot, decoding it does not panic, and what it
// takes can be encoded again to the same.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"id":"aaaaaaaaaaaaaaaaaaaaaa","length":10,"phase":"receiving","epoch":3,"created":1,"updated":2,"extents":[[0,3,7],[5,9,1]],"hash":{"offset":3,"state":"AA=="}}`))
	f.Add([]byte(`{"id":"aaaaaaaaaaaaaaaaaaaaaa","length":3,"phase":"delivered","extents":[[0,3,7]],"result":"b2s=","publish":{"path":"/a","done":true},"owner":"\u0000base64:/w=="}`))
	f.Add([]byte(`{"id":"aaaaaaaaaaaaaaaaaaaaaa","length":3,"phase":"complete","extents":[[0,2,7]]}`))
	f.Add([]byte(`{"id":"aaaaaaaaaaaaaaaaaaaaaa","length":-1,"phase":"receiving","metadata":{"\u0000base64:/w==":"x"},"extents":[[5,3,7]]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, extents, err := decodeRecord(b)
		if err != nil {
			return
		}
		if len(extents) > 0 && extents[0].Start < 0 {
			t.Fatalf("extents %v", extents)
		}
		once, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := decodeRecord(once)
		if err != nil {
			t.Fatalf("%v of its own %s", err, once)
		}
		twice, err := json.Marshal(again)
		if err != nil || string(once) != string(twice) {
			t.Fatalf("%s became %s, %v", once, twice, err)
		}
	})
}
