package main

import (
	"bytes"
	"fmt"
	"time"
)

// summed are the rows over loopback that a summary shows, and whether what they
// answered for is on the disk.
var summed = []struct {
	key    string
	synced bool
}{
	{rawRow, false}, {rawSyncRow, true}, {putRow, false}, {tusdRow, false}, {fullRow, true}, {goRow, true}, {caddyRow, true},
}

// summary is what somebody wants to know who has a minute.
func (r *report) summary() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n| an upload of %d MiB, over loopback | MB/s | server CPU, s/GiB | on the disk when answered |\n|---|---:|---:|---|\n", r.Size>>20)
	for _, row := range summed {
		if s := find(r.Loopback, row.key); s != nil {
			synced := "no"
			if row.synced {
				synced = "yes"
			}
			fmt.Fprintf(&b, "| %s | %.0f | %.2f | %s |\n", s.Name, s.of(rateOf), s.of(cpuOf), synced)
		}
	}
	fmt.Fprintf(&b, "\n| | wsingest | with 4 lanes | tusd 2.9.1 | HTTP/2 PUT behind Caddy's reverse_proxy |\n|---|---:|---:|---:|---:|\n")
	if ours, tusd := find(r.Small, smallOursRow), find(r.Small, smallTusdRow); ours != nil && tusd != nil {
		fmt.Fprintf(&b, "| %d files of %d KiB, one connection: files/s | %.0f | | %.0f | |\n", r.Files, smallSize>>10, ours.of(rateOf), tusd.of(rateOf))
	}
	for _, p := range []path{farPath, lossyPath} {
		if r.over(p, goRow) == nil {
			continue
		}
		fmt.Fprintf(&b, "| %v: MB/s |", p)
		for _, key := range []string{goRow, lanesRow, tusdRow, h2Row} {
			if s := r.over(p, key); s != nil {
				fmt.Fprintf(&b, " %.1f", s.of(pathRate))
			}
			b.WriteString(" |")
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n%s, %s.\n\n", r.When.Format(time.DateOnly), r.Machine)
	return b.Bytes()
}
