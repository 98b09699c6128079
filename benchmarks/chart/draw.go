package chart

import (
	"bytes"
	"fmt"

	gonum "gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	width   = 6.2 * vg.Inch // of the picture without its legend
	height  = 4.5 * vg.Inch
	margin  = vg.Length(8)
	thumb   = vg.Length(24) // of the legend
	titleIn = vg.Length(34) // what the title takes
)

// picture is a chart on its way.
type picture struct {
	Chart
	plot   *gonum.Plot
	legend gonum.Legend
	wide   vg.Length // the widest name in the legend
	flat   bool      // bars lie on their side, and values are along what gonum calls X

	numbers []*numbers // of bars, over everything else
}

// SVG draws the chart.
func (c Chart) SVG() ([]byte, error) {
	p := &picture{Chart: c, plot: gonum.New(), legend: gonum.NewLegend(), flat: c.flat()}
	p.dress()
	err := p.lines()
	if len(c.Bars) > 0 {
		err = p.bars()
	}
	if err != nil {
		return nil, fmt.Errorf("plot %s: %w", c.Name, err)
	}
	p.goals()
	for _, n := range p.numbers {
		p.plot.Add(n)
	}
	p.axes()
	canvas := vgsvg.New(width+p.legendWidth(), p.height())
	p.draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("plot %s: %w", c.Name, err)
	}
	return bytes.Replace(out.Bytes(), []byte("<g transform"), []byte(nightly+"<g transform"), 1), nil
}

func (p *picture) draw(all draw.Canvas) {
	all.FillPolygon(pageColor(), []vg.Point{{}, {X: all.Max.X}, all.Max, {Y: all.Max.Y}})
	p.plot.Draw(draw.Crop(all, margin, -p.legendWidth(), margin, -margin))
	p.legend.Draw(draw.Crop(all, width+margin, 0, 0, -titleIn))
}

func (p *picture) legendWidth() vg.Length { return thumb + p.wide + 3*margin }

// named adds a name to the legend.
func (p *picture) named(name string, how ...gonum.Thumbnailer) {
	p.legend.Add(name, how...)
	p.wide = max(p.wide, p.legend.TextStyle.Rectangle(name).Max.X)
}

func sans(f font.Font, size vg.Length) font.Font {
	f.Variant, f.Size = "Sans", size
	return f
}

// dress sets fonts and colours.
func (p *picture) dress() {
	g := p.plot
	g.BackgroundColor = nil
	g.Title.Text, g.Title.Padding = p.Title, vg.Points(12)
	for style, size := range map[*text.Style]vg.Length{&g.Title.TextStyle: 13, &g.X.Label.TextStyle: 11,
		&g.Y.Label.TextStyle: 11, &g.X.Tick.Label: 10, &g.Y.Tick.Label: 10, &p.legend.TextStyle: 10} {
		style.Font, style.Color = sans(style.Font, size), inkColor()
	}
	for _, axis := range []*gonum.Axis{&g.X, &g.Y} {
		axis.Color, axis.Tick.Color, axis.Label.Padding = inkColor(), inkColor(), vg.Points(6)
	}
	p.legend.Top, p.legend.Left, p.legend.Padding, p.legend.ThumbnailWidth = true, true, vg.Points(5), thumb
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor(), gridColor()
	if p.flat {
		grid.Horizontal.Width = 0
	} else {
		grid.Vertical.Width = 0
	}
	g.Add(grid)
}

// lines draws a line for each series, each with a mark of its own.
func (p *picture) lines() error {
	marks := [...]draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
	for i, s := range p.Series {
		points := s.points(p.X.Log, p.Y.Log)
		if len(p.Bars) > 0 || len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err //nolint:wrapcheck // SVG says which
		}
		line.Color, line.Width = palette(i), vg.Points(1.8)
		dots.Color, dots.Shape, dots.Radius = palette(i), marks[i%len(marks)], vg.Points(3)
		p.plot.Add(line)
		if len(points) > 40 { // marks would hide the line
			p.named(s.Name, line)
			continue
		}
		p.plot.Add(dots)
		p.named(s.Name, line, dots)
	}
	return nil
}

func (s Series) points(logX, logY bool) plotter.XYs {
	var out plotter.XYs
	for i, y := range s.Y {
		x := float64(i)
		if s.X != nil {
			x = s.X[i]
		}
		if (logX && x <= 0) || (logY && y <= 0) {
			continue
		}
		out = append(out, plotter.XY{X: x, Y: y})
	}
	return out
}

// goals draws a dashed line for each goal across the values.
func (p *picture) goals() {
	values, along := &p.plot.Y, &p.plot.X
	if p.flat {
		values, along = along, values
	}
	for i, goal := range p.Goals {
		from, to := plotter.XY{X: along.Min, Y: goal.At}, plotter.XY{X: along.Max, Y: goal.At}
		if p.flat {
			from, to = plotter.XY{X: goal.At, Y: along.Min}, plotter.XY{X: goal.At, Y: along.Max}
		}
		line := &plotter.Line{XYs: plotter.XYs{from, to}}
		line.Color, line.Width = goalColor(), vg.Points(1.4)
		line.Dashes = []vg.Length{vg.Points(float64(7 - 2*min(i, 2))), vg.Points(float64(3 + i))}
		p.plot.Add(line)
		values.Min, values.Max = min(values.Min, goal.At), max(values.Max, goal.At*1.05)
		p.named(goal.Name, line)
	}
}
