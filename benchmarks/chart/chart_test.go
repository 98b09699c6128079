package chart

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// someCharts have all that a chart can have: bars that stand and bars that lie, notes, lines, logarithms, goals, ticks of
// their own.
func someCharts() []Chart {
	many := Chart{Name: "many", Title: "More bars than can stand", Y: Axis{Label: "rows per second"},
		Series: []Series{{Name: "one"}, {Name: "two", Notes: make([]string, 20)}}, Goals: []Goal{{"goal", 9}}}
	for i := range 20 {
		many.Bars = append(many.Bars, fmt.Sprintf("query %d", i))
		many.Series[0].Y, many.Series[1].Y = append(many.Series[0].Y, float64(i)), append(many.Series[1].Y, 21.5-float64(i))
	}
	many.Series[1].Y[3], many.Series[1].Notes[3] = 0, "refused NO_WAY"
	return []Chart{
		{Name: "bars", Title: "Rows through the query", Y: Axis{Label: "rows per second"},
			Bars: []string{"run 1", "run 2", "run 3"},
			Series: []Series{{Name: "tidemill", Y: []float64{351_000, 340_000, 362_000}},
				{Name: "raw read", Y: []float64{501_000, 490_000, 518_000}}},
			Goals: []Goal{{"target", 200_000}}},
		{Name: "gap", Title: "None at one place", Y: Axis{Label: "ms"}, Bars: []string{"10k keys", "10M keys"},
			Series: []Series{{Name: "median", Y: []float64{math.NaN(), 12}}}},
		{Name: "one", Title: "One bar", Y: Axis{Label: "rows per second"}, Bars: []string{"run 1"},
			Series: []Series{{Name: "tidemill", Y: []float64{351_000}}, {Name: "raw", Y: []float64{501_000}}}},
		many,
		{Name: "loglog", Title: "Time of a batch over keys", X: Axis{Label: "keys", Log: true},
			Y: Axis{Label: "ms a batch, p50", Log: true},
			Series: []Series{{Name: "100 rows", X: []float64{1e4, 1e5, 1e6, 1e7}, Y: []float64{1.2, 1.3, 1.9, 2.4}},
				{Name: "1,000 rows", X: []float64{1e4, 1e5, 1e6, 1e7}, Y: []float64{1.8, 2, 3, 0}},
				{Name: "100,000 rows", X: []float64{1e4, 1e5, 1e6, 1e7}, Y: []float64{40, 55, 98, 150}}},
			Goals: []Goal{{"goal, 1,000 rows at 1M", 10}, {"goal, 1,000 rows at 10M", 30}}},
		{Name: "nothing", Title: "No point at all", X: Axis{Label: "keys", Log: true}, Y: Axis{Label: "ms", Log: true},
			Series: []Series{{Name: "none", X: []float64{0}, Y: []float64{1}}}},
		{Name: "ticks", Title: "Ticks of its own", X: Axis{Label: "share of rows", Log: true,
			Ticks: []Tick{{1, "0"}, {2, "50 %"}, {100, "99 %"}}},
			Y: Axis{Label: "ms"}, Series: []Series{{Name: "10k rows/s", X: []float64{1, 2, 10, 100}, Y: []float64{1, 2, 3, 9}}}},
	}
}

// TestCharts asks for the words and numbers of every chart, and that what can not be drawn on a logarithmic axis is left
// out. TIDEMILL_PLOTS=dir keeps the pictures.
func TestCharts(t *testing.T) {
	t.Parallel()
	for _, c := range someCharts() {
		picture, err := c.SVG()
		require.NoError(t, err)
		labels := append([]string{c.Title, c.Y.Label}, c.Bars...)
		for _, s := range c.Series {
			if c.Bars == nil && len(s.points(c.X.Log, c.Y.Log)) == 0 {
				require.NotContains(t, string(picture), ">"+s.Name+"<", "it has no point")
				continue
			}
			labels = append(labels, s.Name)
			if c.Bars == nil {
				continue
			}
			for i, v := range s.Y {
				if s.Notes != nil && s.Notes[i] != "" {
					labels = append(labels, s.Notes[i])
					continue
				}
				if labels = append(labels, Short(v)); math.IsNaN(v) {
					labels[len(labels)-1] = "—"
				}
			}
		}
		for _, g := range c.Goals {
			labels = append(labels, g.Name)
		}
		for _, tick := range c.X.Ticks {
			labels = append(labels, tick.Label)
		}
		for _, label := range labels {
			require.Contains(t, string(picture), ">"+label+"<", c.Name)
		}
		require.NotContains(t, string(picture), "NaN", c.Name)
		require.Less(t, len(picture), 64<<10, c.Name)
		if dir := os.Getenv("TIDEMILL_PLOTS"); dir != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, c.Name+".svg"), picture, 0o600))
		}
	}
}

// TestFlat asks that bars lie down where names or numbers would touch, and only there.
func TestFlat(t *testing.T) {
	t.Parallel()
	bars := func(names, series int, name string) Chart {
		return Chart{Bars: strings.Split(strings.Repeat(name+",", names-1)+name, ","), Series: make([]Series, series)}
	}
	require.False(t, bars(4, 2, "run 1").flat())
	require.True(t, bars(8, 2, "run 1").flat(), "numbers would touch")
	require.True(t, bars(4, 1, "a name of many letters").flat(), "names would touch")
	require.False(t, bars(1, 1, "a name of many letters").flat())
	require.False(t, Chart{}.flat(), "it has lines")
}

// TestContrast asks that every colour is told from the light page and from the dark one, and that what the dark page
// replaces is what the light one has.
func TestContrast(t *testing.T) {
	t.Parallel()
	for i := range 7 {
		require.GreaterOrEqual(t, contrast(palette(i), pageColor()), 3.0, "%d by day", i)
		require.GreaterOrEqual(t, contrast(palette(i), nightColor()), 3.0, "%d at night", i)
	}
	require.GreaterOrEqual(t, contrast(goalColor(), pageColor()), 3.0)
	require.GreaterOrEqual(t, contrast(goalColor(), nightColor()), 3.0)
	hex := func(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }
	for _, want := range []string{"fill:" + hex(pageColor()), "fill:" + hex(inkColor()), "stroke:" + hex(inkColor()),
		"stroke:" + hex(gridColor()), "fill: " + hex(nightColor())} {
		require.Contains(t, nightly, want)
	}
}

// contrast is that of WCAG 2: 1 for the same colour, 21 for black on white.
func contrast(a, b color.RGBA) float64 {
	light := func(c color.RGBA) float64 {
		sum := 0.0
		for channel, weight := range map[uint8]float64{0: 0.2126, 1: 0.7152, 2: 0.0722} {
			v := float64([]uint8{c.R, c.G, c.B}[channel]) / 255
			if v <= 0.04045 {
				sum += weight * v / 12.92
				continue
			}
			sum += weight * math.Pow((v+0.055)/1.055, 2.4)
		}
		return sum
	}
	high, low := max(light(a), light(b)), min(light(a), light(b))
	return (high + 0.05) / (low + 0.05)
}

func TestShort(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 0.5: "0.5", 0.034: "0.034", 9.96: "10", 999: "999", 999.7: "1k", 1000: "1k",
		12_500: "12.5k", 999_999: "1M", 1_200_000: "1.2M", 3e9: "3G", -1500: "-1.5k"} {
		require.Equal(t, want, Short(v))
	}
}
