// Package yahoo is the Yahoo Streaming Benchmark for Tidemill: a generator of its ad events, its table of campaigns,
// its query, and the same query in plain DuckDB to prove a run right.
//
// Event n of Events is a pure function of the seed, the rate and n, so any range can be made without the events
// before it. The fields and their order are those of the original: 100 campaigns of 10 ads, 5 kinds of ads, 3 kinds
// of events of which a third are views. What differs: event_time is an ISO timestamp in milliseconds rather than an
// epoch number in quotes, and events are out of order by up to Disorder. An event takes 245 to 261 bytes of JSON, 251 on average.
package yahoo

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

const (
	campaigns      = 100
	adsPerCampaign = 10
	ads            = campaigns * adsPerCampaign
	pages          = 1000
	uuidSize       = 36
)

// Disorder is how far an event can lie behind one that stands before it.
const Disorder = 2 * time.Second

// Events makes ad events and the campaigns that they belong to. It may be used by several goroutines at once.
type Events struct {
	seed  uint64
	rate  int64
	ads   [ads][uuidSize]byte
	pages [pages][uuidSize]byte
}

// The salts keep the kinds of ids of one seed apart.
const (
	saltAd uint64 = (iota + 1) << 56
	saltPage
	saltUser
	saltCampaign
)

// New returns the events of a seed, with so many of them in each second of event time.
func New(seed uint64, rate int64) *Events {
	e := &Events{seed: seed, rate: rate}
	for i := range e.ads {
		e.ads[i] = uuid(seed, saltAd|uint64(i))
	}
	for i := range e.pages {
		e.pages[i] = uuid(seed, saltPage|uint64(i))
	}
	return e
}

// mix is splitmix64, which spreads consecutive numbers evenly.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// uuid returns the text of a UUID of version 4 that is a function of the seed and a number.
func uuid(seed, n uint64) (text [uuidSize]byte) {
	var raw [16]byte
	high, low := mix(seed^mix(n)), mix(^seed^mix(n))
	for i := range 8 {
		raw[i], raw[8+i] = byte(high>>(8*i)), byte(low>>(8*i))
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	hex.Encode(text[:8], raw[:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:], raw[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return text
}

// Append appends event n to b as one JSON object.
func (e *Events) Append(b []byte, n int64) []byte {
	adTypes := [...]string{"banner", "modal", "sponsored-search", "mail", "mobile"}
	eventTypes := [...]string{"view", "click", "purchase"}
	r := mix(e.seed ^ mix(uint64(n)))
	user := uuid(e.seed, saltUser|uint64(n))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second / time.Duration(e.rate))
	at = at.Add(-time.Duration(r>>20) % Disorder)
	b = append(append(b, `{"user_id":"`...), user[:]...)
	b = append(append(b, `","page_id":"`...), e.pages[r>>8%pages][:]...)
	b = append(append(b, `","ad_id":"`...), e.ads[r>>40%ads][:]...)
	b = append(append(b, `","ad_type":"`...), adTypes[r>>16%5]...)
	b = append(append(b, `","event_type":"`...), eventTypes[r>>50%3]...)
	b = at.AppendFormat(append(b, `","event_time":"`...), "2006-01-02T15:04:05.000")
	b = append(b, `","ip_address":"`...)
	for i := range 4 {
		b = append(b, byte('1'+r>>(4*i)%9), '.')
	}
	return append(b[:len(b)-1], `"}`...)
}

// WriteCampaigns writes the table of campaigns, one JSON object with ad_id and campaign_id a line.
func (e *Events) WriteCampaigns(w io.Writer) error {
	out := bufio.NewWriter(w)
	for i, ad := range e.ads {
		campaign := uuid(e.seed, saltCampaign|uint64(i/adsPerCampaign))
		fmt.Fprintf(out, "{\"ad_id\":\"%s\",\"campaign_id\":\"%s\"}\n", ad, campaign)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the campaigns: %w", err)
	}
	return nil
}
