package benchmarks

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	gonum "gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plot is one picture of a section, as data: a line for each series over x, or, when there are bars, a bar of each
// series at each of them. A point that is not above 0 is left out of a logarithmic axis.
type plot struct {
	name   string // its file is <suite>-<name>.svg
	title  string
	x, y   axis
	bars   []string // their names, in place of numbers on x
	series []series
	goals  []goal
}

// axis says what is drawn along it, with the unit.
type axis struct {
	label string
	log   bool
	ticks []gonum.Tick // in place of round numbers
}

// series is a line, or a bar at each place. Without x, the points are at 0, 1, 2 and so on.
type series struct {
	name string
	x, y []float64
}

// goal is a horizontal line that results are held against.
type goal struct {
	name string
	at   float64
}

const (
	plotWidth   = 8 * vg.Inch
	plotHeight  = 4.5 * vg.Inch
	legendWidth = 1.9 * vg.Inch
)

// plotColors can be told apart by colour-blind people (Okabe and Ito).
func plotColors(i int) color.Color {
	all := [...]color.RGBA{{0, 114, 178, 255}, {230, 159, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
		{86, 180, 233, 255}, {213, 94, 0, 255}, {100, 100, 100, 255}}
	return all[i%len(all)]
}

func goalColor() color.Color { return color.RGBA{200, 0, 0, 255} }

// svg draws the plot. The legend stands beside it, so that it covers nothing.
func (p plot) svg() ([]byte, error) {
	g := gonum.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = p.title, p.x.label, p.y.label
	g.Title.Padding, g.X.Label.Padding, g.Y.Label.Padding = vg.Points(8), vg.Points(4), vg.Points(6)
	for _, s := range []*font.Font{&g.Title.TextStyle.Font, &g.X.Label.TextStyle.Font, &g.Y.Label.TextStyle.Font,
		&g.X.Tick.Label.Font, &g.Y.Tick.Label.Font} {
		s.Variant = "Sans"
	}
	legend := gonum.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(4)
	legend.TextStyle.Font.Variant, legend.TextStyle.Font.Size = "Sans", vg.Points(10)
	grid := plotter.NewGrid()
	grid.Vertical.Width, grid.Horizontal.Color = 0, color.Gray{225}
	g.Add(grid)
	var err error
	if len(p.bars) > 0 {
		err = p.drawBars(g, &legend)
	} else {
		err = p.drawLines(g, &legend)
	}
	if err != nil {
		return nil, fmt.Errorf("plot %s: %w", p.name, err)
	}
	p.drawGoals(g, &legend)
	p.y.scale(&g.Y)
	if len(p.bars) > 0 {
		g.NominalX(p.bars...)
	} else {
		p.x.scale(&g.X)
	}
	canvas := vgsvg.New(plotWidth, plotHeight)
	all := draw.New(canvas)
	g.Draw(draw.Crop(all, vg.Points(6), -legendWidth, vg.Points(6), -vg.Points(6)))
	legend.Draw(draw.Crop(all, plotWidth-legendWidth+vg.Points(8), 0, 0, -vg.Points(34)))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("plot %s: %w", p.name, err)
	}
	return out.Bytes(), nil
}

func (p plot) drawLines(g *gonum.Plot, legend *gonum.Legend) error {
	for i, s := range p.series {
		points := s.points(p.x.log, p.y.log)
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err //nolint:wrapcheck // svg says which
		}
		line.Color, line.Width = plotColors(i), vg.Points(1.8)
		dots.Color, dots.Shape, dots.Radius = plotColors(i), draw.CircleGlyph{}, vg.Points(2.5)
		g.Add(line)
		if len(points) <= 40 { // more of them would hide the line
			g.Add(dots)
		}
		legend.Add(s.name, line)
	}
	return nil
}

func (s series) points(logX, logY bool) plotter.XYs {
	var out plotter.XYs
	for i, y := range s.y {
		x := float64(i)
		if s.x != nil {
			x = s.x[i]
		}
		if (logX && x <= 0) || (logY && y <= 0) {
			continue
		}
		out = append(out, plotter.XY{X: x, Y: y})
	}
	return out
}

// drawBars draws the bars of a place side by side, each with its number above.
func (p plot) drawBars(g *gonum.Plot, legend *gonum.Legend) error {
	inner := plotWidth - legendWidth - vg.Inch
	width := min(vg.Points(50), inner/(vg.Length(len(p.bars))*(vg.Length(len(p.series))+0.6)))
	g.X.Min, g.X.Max = -0.5, float64(len(p.bars))-0.5
	for i, s := range p.series {
		bars, err := plotter.NewBarChart(plotter.Values(s.y), width)
		if err != nil {
			return err //nolint:wrapcheck // svg says which
		}
		bars.Color, bars.LineStyle.Width = plotColors(i), 0
		bars.Offset = width * (vg.Length(i) - vg.Length(len(p.series)-1)/2)
		above := plotter.XYLabels{XYs: s.points(false, false)}
		for _, v := range s.y {
			above.Labels = append(above.Labels, short(v))
		}
		labels, err := plotter.NewLabels(above)
		if err != nil {
			return err //nolint:wrapcheck // svg says which
		}
		for j := range labels.TextStyle {
			labels.TextStyle[j].Font.Variant, labels.TextStyle[j].Font.Size = "Sans", vg.Points(8)
			labels.TextStyle[j].XAlign = draw.XCenter
		}
		labels.Offset = vg.Point{X: bars.Offset, Y: vg.Points(3)}
		g.Add(bars, labels)
		legend.Add(s.name, bars)
	}
	g.Y.Max *= 1.08 // room for the numbers
	return nil
}

func (p plot) drawGoals(g *gonum.Plot, legend *gonum.Legend) {
	for i, goal := range p.goals {
		at := goal.at
		line := plotter.NewFunction(func(float64) float64 { return at })
		line.Color, line.Width, line.Samples = goalColor(), vg.Points(1.2), 2
		line.Dashes = []vg.Length{vg.Points(float64(6 + 4*i)), vg.Points(4)}
		g.Add(line)
		g.Y.Min, g.Y.Max = min(g.Y.Min, at), max(g.Y.Max, at*1.05)
		legend.Add(goal.name, line)
	}
}

// scale sets how an axis is divided. It is called when the axis knows its range.
func (a axis) scale(to *gonum.Axis) {
	if a.log {
		to.Scale = gonum.LogScale{}
		if to.Min == to.Max {
			to.Min, to.Max = to.Min/2, to.Max*2
		}
		to.Tick.Marker = gonum.TickerFunc(logTicks)
	} else {
		to.Min = min(0, to.Min)
		to.Tick.Marker = gonum.TickerFunc(func(low, high float64) []gonum.Tick {
			ticks := gonum.DefaultTicks{}.Ticks(low, high)
			for i := range ticks {
				if ticks[i].Label != "" {
					ticks[i].Label = short(ticks[i].Value)
				}
			}
			return ticks
		})
	}
	if a.ticks != nil {
		to.Tick.Marker = gonum.ConstantTicks(a.ticks)
	}
}

// logTicks names the powers of ten, and 2 and 5 times them where few powers are in sight.
func logTicks(low, high float64) []gonum.Tick {
	var ticks []gonum.Tick
	wide := high/low > 2000
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for digit := 1.0; digit < 10; digit++ {
			at := power * digit
			if at < low*(1-1e-9) || at > high*(1+1e-9) {
				continue
			}
			tick := gonum.Tick{Value: at}
			if digit == 1 || (!wide && (digit == 2 || digit == 5)) {
				tick.Label = short(at)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// short writes a number in few letters: 12.5k, 1.2M.
func short(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= unit.size {
			return fmt.Sprintf("%.3g%s", v/unit.size, unit.name)
		}
	}
	if math.Abs(v) < 10 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.3g", v)
}
