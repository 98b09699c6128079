package decode

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/stream"
)

// views returns n events of about 250 bytes as the Yahoo benchmark has them: seven strings, of which its query reads three.
func views(n int) *stream.Messages {
	m := &stream.Messages{}
	for i := range n {
		id := func(salt int) string {
			return fmt.Sprintf("%08x-6d0e-4b51-9a3f-%012x", (i+salt)*2654435761&0xffffffff, i*salt)
		}
		m.Data = fmt.Appendf(m.Data, `{"user_id":"%s","page_id":"%s","ad_id":"%s","ad_type":"banner","event_type":"%s",`+
			`"event_time":"2026-01-01T%02d:%02d:%02d.%03d","ip_address":"1.2.3.%d"}`+"\n", id(1), id(2), id(3),
			[]string{"view", "click", "purchase"}[i%3], i/3600%24, i/60%60, i%60, i%1000, i%256)
	}
	m.Ends, m.Sequence = []int{len(m.Data)}, []uint64{1}
	return m
}

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

// arrowEvents returns them as Arrow streams, a thousand in a message.
func arrowEvents(b *testing.B, n int, columns []string) *stream.Messages {
	b.Helper()
	r, err := decoder(b, Options{Format: "ndjson"}, columns...).Decode(events(n, true))
	require.NoError(b, err)
	defer r.Release()
	m := &stream.Messages{}
	for at := 0; at < n; at += 1000 {
		part := r.Rows.NewSlice(int64(at), int64(min(n, at+1000)))
		m.Append(uint64(at+1), ipcStream(b, part))
		part.Release()
	}
	return m
}

func BenchmarkDecode(b *testing.B) {
	three := []string{"user_id", "VARCHAR", "amount", "DOUBLE", "ts", "TIMESTAMP"}
	all := append([]string{"order_id", "BIGINT", "country", "VARCHAR", "note", "VARCHAR", "url", "VARCHAR"}, three...)
	const rows = 50_000
	for _, c := range []struct {
		name, format string
		messages     *stream.Messages
		columns      []string
		unread       []string
	}{
		{"json/3of7", "json", events(rows, false), three, nil}, {"json/7of7", "json", events(rows, false), all, nil},
		{"ndjson/3of7", "ndjson", events(rows, true), three, nil}, {"ndjson/7of7", "ndjson", events(rows, true), all, nil},
		{"yahoo", "ndjson", views(rows), []string{"user_id", "VARCHAR", "page_id", "VARCHAR", "ad_id", "VARCHAR", "ad_type", "VARCHAR",
			"event_type", "VARCHAR", "event_time", "TIMESTAMP", "ip_address", "VARCHAR"},
			[]string{"user_id", "page_id", "ad_type", "ip_address"}},
		{"arrow/3of7", "arrow", arrowEvents(b, rows, all), three, nil}, {"arrow/7of7", "arrow", arrowEvents(b, rows, all), all, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := decoder(b, Options{Format: c.format, Unread: c.unread}, c.columns...)
			m := c.messages
			b.SetBytes(int64(len(m.Data)))
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				r, err := d.Decode(m)
				require.NoError(b, err)
				require.Empty(b, r.Bad)
				r.Release()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(rows)/float64(b.N), "cpu-ns/row")
		})
	}
}

// cpu is the time that the process has had of all cores: on a machine that others use, too, the clock tells little.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var use unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
