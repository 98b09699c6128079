package chart

import (
	"math"
	"slices"

	gonum "gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	barsWidth = width - vg.Inch // what bars that stand have in all
	barMost   = vg.Length(50)
	barLeast  = vg.Length(30) // a number of five letters above it
	letter    = vg.Length(6)  // the most that one of a name takes on average
	flatBar   = vg.Length(11) // a bar that lies, with its number behind it
	thinBar   = vg.Length(8)  // one of many
	flatGap   = vg.Length(7)
	numberPt  = 9 // the font of the bars' numbers
	thinPt    = 7
	manyBars  = 40
	sink      = vg.Length(1.2) // digits stand this much below the middle of their line
)

// standing is how wide a bar can be that stands.
func (c Chart) standing() vg.Length {
	return barsWidth / (vg.Length(len(c.Bars)) * (vg.Length(len(c.Series)) + 0.6))
}

// flat says whether names or numbers of bars would touch if these stood.
func (c Chart) flat() bool {
	if len(c.Bars) == 0 {
		return false
	}
	room := barsWidth / vg.Length(len(c.Bars))
	return c.standing() < barLeast ||
		slices.ContainsFunc(c.Bars, func(name string) bool { return letter*vg.Length(len(name)) > room }) ||
		slices.ContainsFunc(c.Series, func(s Series) bool { return s.Notes != nil })
}

// lying is how thick a bar is that lies, and the size of its number.
func (c Chart) lying() (bar, number vg.Length) {
	if len(c.Bars)*len(c.Series) > manyBars {
		return thinBar, thinPt
	}
	return flatBar, numberPt
}

func (p *picture) height() vg.Length {
	if !p.flat {
		return height
	}
	bar, _ := p.lying()
	bars := vg.Length(len(p.Bars)) * (bar*vg.Length(len(p.Series)) + flatGap)
	return max(height/2, bars+titleIn+50)
}

// bars draws the bars of a place side by side, each with its number behind it.
func (p *picture) bars() error {
	wide := min(barMost, p.standing())
	if p.flat {
		wide, _ = p.lying()
	}
	for i, s := range p.Series {
		if p.flat { // the first place and the first series are on top
			s.Y, s.Notes = reversed(s.Y), reversed(s.Notes)
		}
		s = withoutGaps(s)
		bars, err := plotter.NewBarChart(plotter.Values(s.Y), wide)
		if err != nil {
			return err //nolint:wrapcheck // SVG says which
		}
		bars.Color, bars.LineStyle.Width, bars.Horizontal = palette(i), 0, p.flat
		bars.Offset = wide * (vg.Length(i) - vg.Length(len(p.Series)-1)/2)
		if p.flat {
			bars.Offset = -bars.Offset
		}
		labels, err := p.number(s, bars.Offset)
		if err != nil {
			return err
		}
		p.plot.Add(bars)
		p.numbers = append(p.numbers, labels)
		p.named(s.Name, bars)
	}
	values, places := &p.plot.Y, &p.plot.X
	if p.flat {
		values, places = places, values
	}
	values.Max *= 1.08 // room for the numbers
	places.Min, places.Max = -0.5, float64(len(p.Bars))-0.5
	return nil
}

// number is what stands behind the bars of a series.
func (p *picture) number(s Series, offset vg.Length) (*numbers, error) {
	var all plotter.XYLabels
	for i, v := range s.Y {
		at, note := plotter.XY{X: float64(i), Y: v}, Short(v)
		if p.flat {
			at.X, at.Y = at.Y, at.X
		}
		if s.Notes != nil && s.Notes[i] != "" {
			note = s.Notes[i]
		}
		all.XYs, all.Labels = append(all.XYs, at), append(all.Labels, note)
	}
	labels, err := plotter.NewLabels(all)
	if err != nil {
		return nil, err //nolint:wrapcheck // SVG says which
	}
	size := vg.Length(numberPt)
	if p.flat {
		_, size = p.lying()
	}
	for i := range labels.TextStyle {
		style := &labels.TextStyle[i]
		style.Font, style.Color, style.XAlign = sans(style.Font, size), inkColor(), draw.XCenter
		if p.flat {
			style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
		}
	}
	labels.Offset = vg.Point{X: offset, Y: vg.Points(3)}
	if p.flat {
		bar, _ := p.lying()
		labels.Offset = vg.Point{X: vg.Points(4), Y: offset + sink}
		return &numbers{labels, bar}, nil
	}
	return &numbers{Labels: labels}, nil
}

// numbers are labels that nothing shows through: a goal may cross them.
type numbers struct {
	*plotter.Labels

	bar vg.Length // how thick those bars are that lie; 0 where they stand
}

// Plot draws them upon a patch of the page, which is no thicker than their bar: the next one is not covered.
func (n *numbers) Plot(c draw.Canvas, g *gonum.Plot) {
	x, y := g.Transforms(&c)
	for i, at := range n.XYs {
		from := vg.Point{X: x(at.X), Y: y(at.Y)}.Add(n.Offset)
		place := n.TextStyle[i].Rectangle(n.Labels.Labels[i]).Add(from)
		if n.bar > 0 {
			place.Min.Y, place.Max.Y = from.Y-sink-n.bar/2, from.Y-sink+n.bar/2
		}
		c.FillPolygon(pageColor(), []vg.Point{place.Min, {X: place.Max.X, Y: place.Min.Y}, place.Max,
			{X: place.Min.X, Y: place.Max.Y}})
	}
	n.Labels.Plot(c, g)
}

// withoutGaps returns a series that has no height where s has no value, and says so.
func withoutGaps(s Series) Series {
	if !slices.ContainsFunc(s.Y, math.IsNaN) {
		return s
	}
	notes := slices.Clone(s.Notes)
	if notes == nil {
		notes = make([]string, len(s.Y))
	}
	s.Y, s.Notes = slices.Clone(s.Y), notes
	for i, v := range s.Y {
		if math.IsNaN(v) {
			s.Y[i], s.Notes[i] = 0, "—"
		}
	}
	return s
}

func reversed[T any](list []T) []T {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}
