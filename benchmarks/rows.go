package benchmarks

import (
	"cmp"
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
	users     int64 // how many there are; 0 means 50,000
}

// user is the user of row n, counted from 0.
func (m maker) user(n int64) int64 {
	return int64(mix(m.seed^mix(uint64(n)))>>16) % cmp.Or(m.users, 50_000)
}

const firstUser = 10_000 // is called user-10000

const disorder = 5 * time.Second

// mix is splitmix64, which spreads consecutive numbers evenly.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const noteLetters = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"

// row is one row's values.
type row struct {
	id, user          int64
	country, category string
	cents             int64
	note              string // one of a few: it is followed by a space and noteTail
	at                time.Time
}

const noteTail = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop"

// row makes row n.
func (m maker) row(n int64) row {
	countries := [...]string{"DE", "FR", "JP", "BR", "US", "IN", "GB", "ZA"}
	categories := [...]string{"books", "games", "garden", "music", "kitchen"}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at = at.Add(time.Duration(n) * time.Second / time.Duration(m.perSecond))
	r := mix(m.seed ^ mix(uint64(n)))
	start := int(r >> 40 % 26)
	return row{id: 1_000_000 + n, user: firstUser + m.user(n), country: countries[r>>32%8], category: categories[r>>36%5],
		cents: int64(r % 50_000), note: noteLetters[start : start+28+int(r>>48%20)],
		at: at.Add(-time.Duration(r>>20) % disorder)}
}

const rowTime = "2006-01-02T15:04:05.000000"

// Append appends row n to b as JSON.
func (m maker) Append(b []byte, n int64) []byte {
	r := m.row(n)
	b = strconv.AppendInt(append(b, `{"order_id":`...), r.id, 10)
	b = strconv.AppendInt(append(b, `,"user_id":"user-`...), r.user, 10)
	b = append(append(b, `","country":"`...), r.country...)
	b = append(append(b, `","category":"`...), r.category...)
	b = appendCents(append(b, `","amount":`...), r.cents)
	b = append(append(b, `,"note":"`...), r.note...)
	b = append(append(b, ` `...), noteTail...)
	b = r.at.AppendFormat(append(b, `","ts":"`...), rowTime)
	return append(b, `"}`...)
}

func appendCents(b []byte, cents int64) []byte {
	return append(strconv.AppendInt(b, cents/100, 10), '.', byte('0'+cents%100/10), byte('0'+cents%10))
}
