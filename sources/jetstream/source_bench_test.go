package jetstream_test

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/tidemill/tidemill/stream"
)

// BenchmarkRead reads a stream of 200-byte messages in batches of 50,000. Set -benchtime=1000000x for a million.
func BenchmarkRead(b *testing.B) {
	s := basic(b)
	body := bytes.Repeat([]byte("x"), 200)
	n := max(b.N, 1000)
	for done := 0; done < n; done += 4000 { // what the client lets be under way
		s.Publish(min(4000, n-done), func(int) (string, []byte) { return "s.a", body })
	}
	src := open(b, s, nil)
	b.ResetTimer()
	for from := 0; from < n; {
		a, err := src.Available(b.Context(), off(from), "", stream.Limit{Rows: 50_000})
		if err != nil {
			b.Fatal(err)
		}
		in, err := src.Read(b.Context(), stream.Range{From: off(from), To: a.To})
		if err != nil {
			b.Fatal(err)
		}
		from += in.Messages.Len()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkTail is what one message costs from Available to Read at the end of a stream, publishing included.
func BenchmarkTail(b *testing.B) {
	s := basic(b)
	src := open(b, s, nil)
	js := s.JetStream()
	from := stream.Offset("0")
	for i := 0; b.Loop(); i++ {
		if _, err := js.Publish(b.Context(), "s.a", []byte(strconv.Itoa(i))); err != nil {
			b.Fatal(err)
		}
		a, err := src.Available(b.Context(), from, "", stream.Limit{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := src.Read(b.Context(), stream.Range{From: from, To: a.To}); err != nil {
			b.Fatal(err)
		}
		from = a.To
	}
}
