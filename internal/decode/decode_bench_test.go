package decode

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// events returns n events of 236 bytes with seven fields, one a message or all in one message.
func events(n int, packed bool) *stream.Messages {
	m := &stream.Messages{}
	for i := range n {
		e := fmt.Sprintf(`{"order_id":%d,"user_id":"user-%06d","amount":%d.%02d,"country":"DE","ts":"2024-05-%02dT12:%02d:%02d.123Z",`+
			`"note":"%s","url":"https://shop.example.com/orders/%d"}`, 10_000_000+i, i*7919%1_000_000, 100+i%900, i%100,
			1+i%28, i%60, i%60, "a note that nobody reads but that everybody sends along, padded to size as needed", 10_000_000+i)
		if packed {
			m.Data = append(append(m.Data, e...), '\n')
			continue
		}
		m.Append(uint64(i+1), []byte(e))
	}
	if packed {
		m.Ends, m.Sequence = []int{len(m.Data)}, []uint64{1}
	}
	return m
}

func BenchmarkDecode(b *testing.B) {
	three := []string{"user_id", "VARCHAR", "amount", "DOUBLE", "ts", "TIMESTAMP"}
	all := append([]string{"order_id", "BIGINT", "country", "VARCHAR", "note", "VARCHAR", "url", "VARCHAR"}, three...)
	const rows = 50_000
	for _, c := range []struct {
		name, format string
		packed       bool
		columns      []string
	}{
		{"json/3of7", "json", false, three}, {"json/7of7", "json", false, all},
		{"ndjson/3of7", "ndjson", true, three}, {"ndjson/7of7", "ndjson", true, all},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := decoder(b, Options{Format: c.format}, c.columns...)
			m := events(rows, c.packed)
			b.SetBytes(int64(len(m.Data)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := d.Decode(m)
				require.NoError(b, err)
				require.Empty(b, r.Bad)
				r.Release()
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}
