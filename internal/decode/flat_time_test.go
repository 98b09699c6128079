package decode

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// textTimes reads texts, each between quotes, as flatTimes does at first, and returns how many it read.
func textTimes(texts []string) (micros []int64, read int) {
	var b []byte
	spans := make([]span, len(texts))
	for i, s := range texts {
		spans[i].start = uint32(len(b))
		b = fmt.Appendf(b, `"%s"`, s)
		spans[i].last = uint32(len(b)) | 1<<31
	}
	b = slices.Clip(append(b, "12345678"...))
	n := &node{fixed: make([]byte, 8*len(texts)), valid: make([]byte, len(texts)/8+1)}
	read = n.times(b, spans, 0, new(flatDay))
	for i := range read {
		micros = append(micros, int64(binary.LittleEndian.Uint64(n.fixed[8*i:])))
	}
	return micros, read
}

// checkTimes asks that texts that are read are the times that the general decoder reads, and says which are.
func checkTimes(t *testing.T, texts []string) (all []bool) {
	t.Helper()
	for len(texts) > 0 {
		micros, read := textTimes(texts[:min(32, len(texts))])
		for i, got := range micros {
			want, ok := new(lastDay).timestamp([]byte(texts[i]))
			require.True(t, ok, texts[i])
			require.Equal(t, want, got, texts[i])
			all = append(all, true)
		}
		full := read == min(32, len(texts))
		if texts = texts[read:]; !full {
			texts, all = texts[1:], append(all, false)
		}
	}
	return all
}

func TestCommonTimesAreReadTogether(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, date := range []string{"2024-01-02", "2024-01-02", "1969-12-31", "0000-01-01", "0000-02-29", "9999-12-31", "1900-02-28", "2000-02-29"} {
		for _, clock := range []string{"T00:00:00", " 23:59:59", "T12:34:56"} {
			for digits := range 10 {
				text := date + clock
				if digits > 0 {
					text += "." + "987654321"[:digits]
				}
				texts = append(texts, text, text+"Z")
			}
		}
	}
	require.NotContains(t, checkTimes(t, texts), false)
}

func TestOtherTimesAreNot(t *testing.T) {
	t.Parallel()
	others := []string{"", "2024-01-02", "2024-01-02T03:04", "2024-01-02T03:04Z", "2024-01-02T03:04:05+01:00", "2024-01-02T03:04:0Z",
		"2024-01-02T03:04:05.Z", "2024-01-02T03:04:05.", "2024-01-02T03:04:05.1234567890", "2024-01-02T03:04:05ZZ", "1900-02-29T00:00:00",
		"2024-13-01T00:00:00", "2024-00-01T00:00:00", "2024-04-31T00:00:00", "2024-04-00T00:00:00", "2024-01-02T24:00:00",
		"2024-01-02T00:60:00", "2024-01-02T00:00:60", "12024-01-02T00:00:00", "2024-01-02t03:04:05", "infinity"}
	require.NotContains(t, checkTimes(t, others), true)
}

// TestTimesOfAnyBytes changes common forms in every place.
func TestTimesOfAnyBytes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	var texts []string
	for _, form := range []string{"2024-02-29T23:59:59.123456789Z", "1999-12-31 19:09:39.5", "2004-10-12T10:11:12"} {
		for at := range form {
			for c := range 128 {
				if c != '"' {
					texts = append(texts, form[:at]+string(rune(c))+form[at+1:])
				}
			}
			texts = append(texts, form[:at], form[:at]+form[at+1:], form[at:])
		}
		for range 20_000 {
			b := []byte(form)
			for range 1 + r.IntN(4) {
				b[r.IntN(len(b))] = "0123456789:-T Z."[r.IntN(16)]
			}
			texts = append(texts, string(b))
		}
	}
	require.Contains(t, checkTimes(t, texts), true)
}
