package nexmark

import (
	"math"
	"math/bits"
	"strconv"
)

// random is splitmix64: one stream of numbers for each event, so that events do not depend on one another.
type random uint64

// mix spreads consecutive numbers evenly over 64 bits.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below returns a number in [0, n). n is at least 1.
func (r *random) below(n int64) int64 {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int64(hi)
}

// price is log-uniform between 1 and 1,000,000 dollars, in cents.
func (r *random) price() int64 {
	u := float64(r.next()>>11) / (1 << 53)
	return int64(math.Round(math.Pow(10, u*6) * 100))
}

// appendText appends 3 to longest-1 characters, of which 1 in 13 is special and the others are letters.
// Spaces at both ends are trimmed.
func (r *random) appendText(b []byte, longest int64, special byte) []byte {
	const kinds = 13 * 26
	start := len(b)
	n := stringLengthMin + r.below(longest-stringLengthMin)
	var x uint64
	for i := range n {
		if i%2 == 0 { // one number is enough for two characters
			x = r.next()
		}
		if c := x >> 32 * kinds >> 32; c < 26 {
			b = append(b, special)
		} else {
			b = append(b, 'a'+byte(c%26))
		}
		x <<= 32
	}
	if special != ' ' {
		return b
	}
	for len(b) > start && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	from := start
	for from < len(b) && b[from] == ' ' {
		from++
	}
	return append(b[:start], b[from:]...)
}

// extraLength is how long the column extra of an event of have bytes is, for the event to have want on
// average; 0 if it has more already.
func (r *random) extraLength(have, want int64) int64 {
	if have > want {
		return 0
	}
	want -= have
	delta := int64(math.Round(0.2 * float64(want)))
	if delta == 0 {
		return want
	}
	return want - delta + r.below(2*delta)
}

// extrasBytes is the size of the text that the columns extra are cut out of.
const extrasBytes = 1 << 20

// tables are the values that events choose from. They depend on the seed alone.
type tables struct {
	names    [len(firstNames) * len(lastNames)]string
	channels []string // the cold ones, by number
	urls     []string // theirs
	hotURLs  [len(hotNames)]string
	extras   string
}

func newTables(seed uint64) *tables {
	r := random(mix(seed ^ 0x6e65786d61726b)) // apart from those of events
	t := &tables{channels: make([]string, channels), urls: make([]string, channels)}
	for i, first := range firstNames {
		for j, last := range lastNames {
			t.names[i*len(lastNames)+j] = first + " " + last
		}
	}
	for i := range t.hotURLs {
		t.hotURLs[i] = baseURL(&r)
	}
	for i := range t.urls {
		t.channels[i] = "channel-" + strconv.Itoa(i)
		t.urls[i] = baseURL(&r)
		if r.below(10) > 0 {
			t.urls[i] += "&channel_id=" + strconv.Itoa(int(channelID(int32(i))))
		}
	}
	extras := make([]byte, extrasBytes)
	for i := range extras {
		extras[i] = 'a' + byte(r.below(26))
	}
	t.extras = string(extras)
	return t
}

// channelID is abs(reverse(i)) over 32 bits, where the least number is its own absolute value.
func channelID(i int32) int32 {
	v := int32(bits.Reverse32(uint32(i)))
	if v < 0 {
		v = -v
	}
	return v
}

func baseURL(r *random) string {
	b := []byte("https://www.nexmark.com/")
	for range 3 {
		b = append(r.appendText(b, 5, '_'), '/')
	}
	return string(b) + "item.htm?query=1"
}

// extra cuts n bytes out of the random text.
func (t *tables) extra(r *random, n int64) string {
	if n == 0 {
		return ""
	}
	at := r.below(extrasBytes - n + 1)
	return t.extras[at : at+n]
}
