// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// theme has the colors of a picture.
type theme struct{ text, grid, operator, second, third, peer color.Color }

// themes are for light and dark pages; the pictures have no background.
var themes = map[string]theme{
	"light": {rgb(0x1f2328), rgb(0xd1d9e0), rgb(0x0969da), rgb(0x59636e), rgb(0x8250df), rgb(0xbc4c00)},
	"dark":  {rgb(0xe6edf3), rgb(0x3d444d), rgb(0x4493f8), rgb(0x9198a1), rgb(0xab7df8), rgb(0xdb6d28)},
}

func rgb(hex uint32) color.Color {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}

// line connects the points that have a value.
type line struct {
	name   string
	color  color.Color
	points []point
	value  func(point) float64
}

// draw writes each picture in each theme.
func (f figures) draw(dir string) error {
	for name, t := range themes {
		cost := []line{
			{"DLI operator", t.operator, f.Operator, func(p point) float64 { return millicores(p.CPU) }},
			{"bare client at the same rate", t.second, f.Operator, func(p point) float64 { return millicores(p.BareClient) }},
		}
		late := []line{
			{"DLI operator: latest", t.third, f.Operator, func(p point) float64 { return p.LateMax }},
			{"99th percentile", t.operator, f.Operator, func(p point) float64 { return p.LateP99 }},
			{"median", t.second, f.Operator, func(p point) float64 { return p.LateP50 }},
		}
		for _, peer := range f.Peers {
			cost = append(cost, line{peer.Name, t.peer, peer.Points, func(p point) float64 { return millicores(p.CPU) }})
			late = append(late, line{peer.Name + ": 99th percentile", t.peer, peer.Points, func(p point) float64 { return p.LateP99 }})
		}
		for _, err := range []error{
			t.draw(filepath.Join(dir, "cost-"+name+".svg"), "CPU for 1000 running jobs that are each polled once a minute, in millicores", f.Operator, cost),
			t.draw(filepath.Join(dir, "lateness-"+name+".svg"), "How late the end of a job is shown, in poll intervals", f.Operator, late),
		} {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// millicores returns what 1000 jobs take that are each polled once a minute, the unit of
// a container's CPU request, from CPU seconds per 1000 polls.
func millicores(secondsPer1000Polls float64) float64 { return secondsPer1000Polls / 60 * 1000 }

func (t theme) draw(path, title string, ticks []point, lines []line) error {
	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text, p.Title.Padding = title, 8
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, ticksAt(ticks)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, 2
	p.Legend.TextStyle.Font.Size = p.X.Tick.Label.Font.Size
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Color = t.text
		style.Font = font.From(sans, style.Font.Size)
	}
	p.X.Color, p.X.Tick.Color, p.Y.Color, p.Y.Tick.Color = t.grid, t.grid, t.grid, t.grid
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = t.grid
	p.Add(grid)
	for _, l := range lines {
		if err := l.addTo(p); err != nil {
			return fmt.Errorf("%s: %s: %w", path, l.name, err)
		}
	}
	p.Y.Tick.Marker = wholeNumbers(p.Y.Max)
	p.Y.Min, p.Y.Max = 0, 1.4*p.Y.Max // room for the legend
	canvas := vgsvg.New(7*vg.Inch, 4*vg.Inch)
	p.Draw(draw.Crop(draw.New(canvas), 8, -8, 4, -4))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// Viewers without the font fall back to one with the same widths.
	portable := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	return os.WriteFile(path, portable, 0o644)
}

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

func ticksAt(points []point) (ticks plot.ConstantTicks) {
	for _, p := range points {
		ticks = append(ticks, plot.Tick{Value: p.PollsPerSecond, Label: fmt.Sprintf("%s jobs\n%.3g polls/s", thousands(p.Jobs), p.PollsPerSecond)})
	}
	return ticks
}

// thousands formats a number like 50,000.
func thousands(n int) string {
	if n < 10000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

func wholeNumbers(most float64) (ticks plot.ConstantTicks) {
	step := 1
	if most > 10 {
		step = 10
	}
	for n := 0; n < int(math.Ceil(most))+step; n += step {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: strconv.Itoa(n)})
	}
	return ticks
}

func (l line) addTo(p *plot.Plot) error {
	var points plotter.XYs
	for _, at := range l.points {
		if value := l.value(at); value > 0 {
			points = append(points, plotter.XY{X: at.PollsPerSecond, Y: value})
		}
	}
	drawn, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	drawn.Color, drawn.Width = l.color, 2
	marks.Color, marks.Radius, marks.Shape = l.color, 3, draw.CircleGlyph{}
	p.Add(drawn, marks)
	p.Legend.Add(l.name, drawn, marks)
	return nil
}
