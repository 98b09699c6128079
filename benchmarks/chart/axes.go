package chart

import (
	"math"

	gonum "gonum.org/v1/plot"
)

// axes names and divides both axes, when their ranges are known.
func (p *picture) axes() {
	g := p.plot
	switch {
	case p.flat:
		g.X.Label.Text = p.Y.Label
		p.Y.divide(&g.X)
		g.NominalY(reversed(p.Bars)...)
	case len(p.Bars) > 0:
		g.Y.Label.Text = p.Y.Label
		p.Y.divide(&g.Y)
		g.NominalX(p.Bars...)
	default:
		g.X.Label.Text, g.Y.Label.Text = p.X.Label, p.Y.Label
		p.X.divide(&g.X)
		p.Y.divide(&g.Y)
	}
}

// divide sets how an axis is divided.
func (a Axis) divide(to *gonum.Axis) {
	if to.Min > to.Max { // there is nothing along it
		to.Min, to.Max = 1, 10
	}
	switch {
	case a.Log:
		to.Scale = gonum.LogScale{}
		if to.Min == to.Max {
			to.Min, to.Max = to.Min/2, to.Max*2
		}
		to.Tick.Marker = gonum.TickerFunc(logTicks)
	default:
		to.Min = min(0, to.Min)
		to.Tick.Marker = gonum.TickerFunc(roundTicks)
	}
	if a.Ticks != nil {
		var ticks []gonum.Tick
		for _, t := range a.Ticks {
			ticks = append(ticks, gonum.Tick{Value: t.At, Label: t.Label})
		}
		to.Tick.Marker = gonum.ConstantTicks(ticks)
	}
}

// roundTicks are gonum's with short numbers.
func roundTicks(low, high float64) []gonum.Tick {
	ticks := gonum.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = Short(ticks[i].Value)
		}
	}
	return ticks
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
				tick.Label = Short(at)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}
