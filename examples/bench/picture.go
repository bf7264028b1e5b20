package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"
)

// Sizes and colours of the picture, in its own units. It has a background of
// its own, so that it reads the same on a dark page.
const (
	pictureWidth = 920
	margin       = 24
	labelWidth   = 270 // names of rows
	gapWidth     = 90  // between the two columns of bars, for the numbers
	barHeight    = 16
	barStep      = 24
	chartHeight  = 260

	ink    = "#24292f"
	faint  = "#57606a"
	grid   = "#d8dee4"
	ourBar = "#0969da"
	bar    = "#8c959f"
)

// canvas is an SVG that grows downwards.
type canvas struct {
	bytes.Buffer
	y int
}

func (c *canvas) text(x, y int, anchor, fill, style, format string, args ...any) {
	var escaped bytes.Buffer
	for _, r := range fmt.Sprintf(format, args...) {
		switch r {
		case '&':
			escaped.WriteString("&amp;")
		case '<':
			escaped.WriteString("&lt;")
		default:
			escaped.WriteRune(r)
		}
	}
	fmt.Fprintf(c, `<text x="%d" y="%d" text-anchor="%s" fill="%s"%s>%s</text>`+"\n", x, y, anchor, fill, style, escaped.Bytes())
}

const bold = ` font-weight="600" font-size="15"`

// picture draws what can be drawn; nil if nothing can.
func (r *report) picture() []byte {
	var c canvas
	c.y = margin
	c.bars(r.Loopback)
	c.lines(r.byTrip())
	if c.Len() == 0 {
		return nil
	}
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="13" role="img">`+"\n",
		pictureWidth, c.y, pictureWidth, c.y)
	fmt.Fprintf(&svg, `<title>Uploads: throughput and CPU time</title>`+"\n"+`<rect width="%d" height="%d" rx="8" fill="#ffffff"/>`+"\n", pictureWidth, c.y)
	svg.Write(c.Bytes())
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

// bars draws the throughput of each row, and what it costs the server.
func (c *canvas) bars(results []*result) {
	var drawn []*result
	var fastest, dearest float64
	for _, r := range results {
		if len(r.Samples) > 0 {
			drawn = append(drawn, r)
			fastest, dearest = max(fastest, r.of(rateOf)), max(dearest, r.of(cpuOf))
		}
	}
	if len(drawn) == 0 {
		return
	}
	width := (pictureWidth - 2*margin - labelWidth - 2*gapWidth) / 2
	left, right := margin+labelWidth, margin+labelWidth+width+gapWidth
	c.y += 14
	c.text(left, c.y, "start", ink, bold, "Into a file, MB/s")
	c.text(right, c.y, "start", ink, bold, "Server CPU, s/GiB")
	c.y += 12
	for _, r := range drawn {
		colour := bar
		if row, err := rowOf(r.Key); err == nil && row.ours() {
			colour = ourBar
		}
		base := c.y + barHeight - 4
		c.text(left-10, base, "end", ink, "", "%s", r.Name)
		c.bar(left, width, r.of(rateOf)/fastest, colour, fmt.Sprintf("%.0f", r.of(rateOf)))
		c.bar(right, width, r.of(cpuOf)/dearest, colour, fmt.Sprintf("%.2f", r.of(cpuOf)))
		c.y += barStep
	}
	c.y += margin
}

func (c *canvas) bar(x, width int, part float64, colour, value string) {
	w := max(1, int(math.Round(part*float64(width))))
	fmt.Fprintf(c, `<rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"/>`+"\n", x, c.y, w, barHeight, colour)
	c.text(x+w+6, c.y+barHeight-4, "start", faint, "", "%s", value)
}

// line is a row over paths that differ in their round trip time alone.
type line struct {
	name, colour string
	at           []*pathResult
}

// lineColours go by row, so that a row keeps its colour when another is left out.
var lineColours = map[string]string{
	rawRow: "#57606a", putRow: "#bf8700", h2Row: "#cf222e", tusdRow: "#8250df", goRow: "#0969da", lanesRow: "#1a7f37",
}

func (r *report) byTrip() (lines []line) {
	for _, key := range pathRows {
		l := line{colour: lineColours[key]}
		for _, s := range r.Paths {
			if s.Key == key && s.Failed == "" && s.Path.Rate == farPath.Rate && s.Path.Loss == 0 {
				l.name, l.at = s.Name, append(l.at, s)
			}
		}
		if len(l.at) > 1 {
			slices.SortFunc(l.at, func(a, b *pathResult) int { return int(a.Path.Trip - b.Path.Trip) })
			lines = append(lines, l)
		}
	}
	return lines
}

// lines draws throughput over the round trip time.
func (c *canvas) lines(lines []line) {
	if len(lines) == 0 {
		return
	}
	var longest time.Duration
	for _, l := range lines {
		longest = max(longest, l.at[len(l.at)-1].Path.Trip)
	}
	const left, right = margin + 50, pictureWidth - margin - 290
	c.y += 14
	c.text(left, c.y, "start", ink, bold, "Over a link of 1 Gbit/s, MB/s by round trip time")
	top := c.y + 16
	bottom := top + chartHeight
	highest := float64(farPath.Rate) / 8 / 1e6
	x := func(d time.Duration) int { return left + int(float64(right-left)*float64(d)/float64(longest)) }
	y := func(rate float64) int { return bottom - int(float64(chartHeight)*min(1, rate/highest)) }
	for rate := 0.0; rate <= highest; rate += 25 {
		fmt.Fprintf(c, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s"/>`+"\n", left, y(rate), right, y(rate), grid)
		c.text(left-8, y(rate)+4, "end", faint, "", "%.0f", rate)
	}
	for _, s := range lines[0].at {
		c.text(x(s.Path.Trip), bottom+18, "middle", faint, "", "%d ms", s.Path.Trip.Milliseconds())
	}
	for i, l := range lines {
		var points bytes.Buffer
		for _, s := range l.at {
			fmt.Fprintf(&points, "%d,%d ", x(s.Path.Trip), y(s.of(pathRate)))
			fmt.Fprintf(c, `<circle cx="%d" cy="%d" r="3.5" fill="%s"/>`+"\n", x(s.Path.Trip), y(s.of(pathRate)), l.colour)
		}
		fmt.Fprintf(c, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", bytes.TrimSpace(points.Bytes()), l.colour)
		at := top + 10 + i*22
		fmt.Fprintf(c, `<rect x="%d" y="%d" width="14" height="4" fill="%s"/>`+"\n", right+24, at-6, l.colour)
		c.text(right+44, at, "start", ink, "", "%s", l.name)
	}
	c.y = bottom + 18 + margin
}
