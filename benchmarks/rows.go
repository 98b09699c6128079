package benchmarks

import (
	"strconv"
	"time"
)

// columns declares what a row holds, in the words of CREATE SOURCE.
const columns = `
  order_id BIGINT,
  user_id  VARCHAR,
  country  VARCHAR,
  category VARCHAR,
  amount   DECIMAL(10, 2),
  note     VARCHAR,
  ts       TIMESTAMP`

// readColumns is the same as the argument of DuckDB's read_json.
const readColumns = `{'order_id': 'BIGINT', 'user_id': 'VARCHAR', 'country': 'VARCHAR', 'category': 'VARCHAR',
  'amount': 'DECIMAL(10, 2)', 'note': 'VARCHAR', 'ts': 'TIMESTAMP'}`

// watermarkDelay is more than maker's disorder, so that no row is late.
const watermarkDelay = "INTERVAL '10 seconds'"

// maker makes rows of 200 to 236 bytes of JSON with 7 fields: row n is a function of the seed and n alone.
type maker struct {
	seed      uint64
	perSecond int64 // rows in one second of event time
}

const disorder = 5 * time.Second

// mix is splitmix64, which spreads consecutive numbers evenly.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const noteLetters = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"

// Append appends row n to b.
func (m maker) Append(b []byte, n int64) []byte {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at = at.Add(time.Duration(n) * time.Second / time.Duration(m.perSecond))
	r := mix(m.seed ^ mix(uint64(n)))
	return m.appendAt(b, n, at.Add(-time.Duration(r>>20)%disorder))
}

// appendAt appends row n with another event time.
func (m maker) appendAt(b []byte, n int64, at time.Time) []byte {
	countries := [...]string{"DE", "FR", "JP", "BR", "US", "IN", "GB", "ZA"}
	categories := [...]string{"books", "games", "garden", "music", "kitchen"}
	r := mix(m.seed ^ mix(uint64(n)))
	cents := int64(r % 50_000)
	b = strconv.AppendInt(append(b, `{"order_id":`...), 1_000_000+n, 10)
	b = strconv.AppendInt(append(b, `,"user_id":"user-`...), 10_000+int64(r>>16%50_000), 10)
	b = append(append(b, `","country":"`...), countries[r>>32%8]...)
	b = append(append(b, `","category":"`...), categories[r>>36%5]...)
	b = strconv.AppendInt(append(b, `","amount":`...), cents/100, 10)
	b = append(b, '.', byte('0'+cents%100/10), byte('0'+cents%10))
	start := int(r >> 40 % 26)
	b = append(append(b, `,"note":"`...), noteLetters[start:start+28+int(r>>48%20)]...)
	b = append(append(b, ` `...), noteLetters[:42]...)
	b = at.AppendFormat(append(b, `","ts":"`...), "2006-01-02T15:04:05.000000")
	return append(b, `"}`...)
}
