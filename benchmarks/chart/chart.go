// Package chart draws the pictures of reports as SVG: lines over a number, or bars at names, with the goals that
// results are held against.
//
// A picture is legible on light and on dark pages: it brings a background of its own, which follows what the reader
// prefers, and its colours have a contrast of at least 3 with either. Nothing in it overlaps: the legend stands beside
// it, and bars whose names or numbers would touch lie on their side.
package chart

import (
	"image/color"
	"math"
	"strconv"
)

// Chart is one picture as data: a line for each series over x, or, when there are bars, a bar of each series at each of
// them. A point that is not above 0 is left out of a logarithmic axis.
type Chart struct {
	Name   string // its file is <report>-<name>.svg
	Title  string
	X, Y   Axis     // Y is that of the values; X is not used where there are bars
	Bars   []string // their names
	Series []Series
	Goals  []Goal
}

// Axis says what is drawn along it, with the unit. Bars stand on an axis that is not logarithmic.
type Axis struct {
	Label string
	Log   bool
	Ticks []Tick // in place of round numbers
}

// Tick is a place on an axis that has a name.
type Tick struct {
	At    float64
	Label string
}

// Series is a line, or a bar at each place, none where its value is not a number. Without X, the points are at 0, 1, 2 and so on.
type Series struct {
	Name  string
	X, Y  []float64
	Notes []string // beside bars, in place of their numbers where not empty; nil for none
}

// Goal is a value that results are held against.
type Goal struct {
	Name string
	At   float64
}

// palette has colours that colour-blind people can tell apart (after Okabe and Ito), each as dark as white asks for and
// as light as night does.
func palette(i int) color.RGBA {
	all := [...]color.RGBA{{0, 114, 178, 255}, {200, 120, 0, 255}, {0, 152, 110, 255}, {190, 105, 155, 255},
		{125, 105, 200, 255}, {205, 85, 35, 255}, {120, 120, 120, 255}}
	return all[i%len(all)]
}

func goalColor() color.RGBA { return color.RGBA{207, 34, 46, 255} }

// Those are of the light page; nightly names what replaces them.
func pageColor() color.RGBA { return color.RGBA{255, 255, 255, 255} }
func inkColor() color.RGBA  { return color.RGBA{31, 35, 40, 255} }
func gridColor() color.RGBA { return color.RGBA{216, 222, 228, 255} }
func nightColor() color.RGBA {
	return color.RGBA{13, 17, 23, 255}
}

// nightly is the style sheet for readers who prefer dark pages. A program that does not know it shows the light one.
const nightly = `<style>@media (prefers-color-scheme: dark) {
[style*="fill:#FFFFFF"] { fill: #0D1117 !important }
[style*="fill:#1F2328"] { fill: #E6EDF3 !important }
[style*="stroke:#1F2328"] { stroke: #E6EDF3 !important }
[style*="stroke:#D8DEE4"] { stroke: #30363D !important }
}</style>
`

// Short writes a number in few letters: 12.5k, 1.2M.
func Short(v float64) string {
	digits := 3
	if math.Abs(v) < 10 {
		digits = 2
	}
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(round(v, digits)) >= unit.size {
			return strconv.FormatFloat(round(v/unit.size, 3), 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(round(v, digits), 'f', -1, 64)
}

// round keeps so many significant digits.
func round(v float64, digits int) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v
	}
	return short
}
