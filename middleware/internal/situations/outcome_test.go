package situations

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// outcome is what became of an upload.
type outcome struct {
	end end
	// What the first connection that ended too early died of, and when.
	of    string
	after time.Duration
	// detail is for whoever reads the log of a failed test.
	detail string
	// noticed is how long the server took to notice that the line was dead;
	// 0 where that is not asked, or was not noticed.
	noticed time.Duration
	// stalls of the disk that writes had to wait for.
	stalls int64
}

type end string

const (
	survived end = "survived" // on one connection, and the file is whole
	resumed  end = "resumed"  // on a second one, and the file is whole
	corrupt  end = "corrupt"  // the client was told that all is well, and the file is not
	died     end = "died"
	hung     end = "hung" // neither ended nor went on, until the test did
)

// What connections die of.
const (
	pingTimeout = "1011"    // the client's own ping timeout
	stalled     = "silence" // the client heard nothing for two intervals, or a send found no room
	cut         = "cut"     // by the server, or the line
	pongTimeout = "pong"    // coder/websocket gave up writing a pong
)

// String leaves out what depends on speed: it is what tests compare.
func (o outcome) String() string {
	if o.of == "" {
		return string(o.end)
	}
	return string(o.end) + " " + o.of
}

// cell is the outcome in the table.
func (o outcome) cell() string {
	s := string(o.end)
	if o.of != "" && o.end == died {
		s += fmt.Sprintf(" of %s after %.1f s", o.of, o.after.Seconds())
	} else if o.of != "" {
		s += fmt.Sprintf(" (%s after %.1f s)", o.of, o.after.Seconds())
	}
	if o.noticed > 0 {
		s += fmt.Sprintf(", server noticed after %.1f s", o.noticed.Seconds())
	}
	return s
}

// judge makes an outcome of what a client says and of what the server holds.
func judge(r result, intact func() error) outcome {
	o := outcome{end: died, detail: r.detail}
	if len(r.deaths) > 0 {
		o.of, o.after = r.deaths[0].of, r.deaths[0].after
		o.detail += " / " + r.deaths[0].detail
	}
	switch {
	case r.hung:
		o.end = hung
	case !r.done:
	case intact() != nil:
		o.end = corrupt
		o.detail += " / " + intact().Error()
	case len(r.deaths) > 0:
		o.end = resumed
	default:
		o.end = survived
	}
	return o
}

// table collects outcomes by situation, server and client.
type table struct {
	columns []string
	rows    []string
	cells   map[[3]string]outcome
}

func (tab *table) print(t testing.TB) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "\nsituation\tserver\t%s\n", strings.Join(tab.columns, "\t"))
	for _, row := range tab.rows {
		for _, server := range servers {
			fmt.Fprintf(w, "%s\t%s", row, server)
			for _, column := range tab.columns {
				cell := "-"
				if o, ok := tab.cells[[3]string{row, server, column}]; ok {
					cell = o.cell()
				}
				fmt.Fprintf(w, "\t%s", cell)
			}
			fmt.Fprintln(w)
		}
	}
	w.Flush()
	t.Log(text.String())
}

// servers are the two that every situation is tried against.
var servers = []string{"naive", "wsingest"}
