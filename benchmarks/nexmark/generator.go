package nexmark

import (
	"fmt"
	"time"
)

// Kind says which of the three streams an event belongs to. Its values are those of the suite's event_type.
type Kind int

// The kinds of events.
const (
	KindPerson Kind = iota
	KindAuction
	KindBid
)

// Kinds returns all kinds in order.
func Kinds() []Kind { return []Kind{KindPerson, KindAuction, KindBid} }

// String returns the name of the kind's stream.
func (k Kind) String() string {
	switch k {
	case KindPerson:
		return "person"
	case KindAuction:
		return "auction"
	case KindBid:
		return "bid"
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Person is somebody who sells and bids.
type Person struct {
	ID           int64
	Name         string
	EmailAddress string
	CreditCard   string
	City         string
	State        string
	DateTime     int64 // milliseconds since 1970 UTC
	Extra        string
}

// Auction is an item under the hammer.
type Auction struct {
	ID          int64
	ItemName    string
	Description string
	InitialBid  int64 // cents
	Reserve     int64 // cents
	DateTime    int64 // milliseconds since 1970 UTC
	Expires     int64 // likewise
	Seller      int64
	Category    int64
	Extra       string
}

// Bid is a bid on an auction, which may not have been seen yet.
type Bid struct {
	Auction  int64
	Bidder   int64
	Price    int64 // cents
	Channel  string
	URL      string
	DateTime int64 // milliseconds since 1970 UTC
	Extra    string
}

// Event is one event; of Person, Auction and Bid the one that Kind names is set, the others hold nothing of
// use.
type Event struct {
	Kind     Kind
	ID       int64 // of the event, which the ids of persons and auctions come from
	DateTime int64 // milliseconds since 1970 UTC, as in the event
	Person   Person
	Auction  Auction
	Bid      Bid
}

// Generator makes events. It is immutable: any number of goroutines may use it at once.
type Generator struct {
	cfg     Config
	delayUs float64 // event time between two events
	baseMs  int64
	salt    uint64
	tables  *tables
}

// New returns a Generator of c's events.
func New(c Config) (*Generator, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("nexmark generator: %w", err)
	}
	c = c.withDefaults()
	if c.FlinkNumbering {
		c.FirstID++
		c.FirstNumber++
	}
	return &Generator{cfg: c, delayUs: 1e6 / float64(c.Rate) * float64(c.Generators),
		baseMs: c.BaseTime.UnixMilli(), salt: mix(c.Seed + 0x9e3779b97f4a7c15),
		tables: newTables(c.Seed)}, nil
}

// timeOf returns the event time of an event number in milliseconds since 1970.
func (g *Generator) timeOf(number int64) int64 {
	return g.baseMs + int64(float64(number)*g.delayUs)/1000
}

// adjusted returns where event k stands in the shuffled timeline: a permutation of each group, if 953 and the
// size of the groups have no divisor in common.
func (g *Generator) adjusted(k int64) int64 {
	n, size := g.cfg.FirstNumber+k, g.cfg.OutOfOrder
	return n/size*size + n*953%size
}

// Watermark returns a time, in milliseconds since 1970, that no event from k on is before.
func (g *Generator) Watermark(k int64) int64 {
	n := g.cfg.FirstNumber + k
	return g.timeOf(n / g.cfg.OutOfOrder * g.cfg.OutOfOrder)
}

// Due returns how long after the start of a run that keeps to the rate event k is to be sent.
func (g *Generator) Due(k int64) time.Duration {
	return time.Duration(g.timeOf(g.cfg.FirstNumber+k)-g.baseMs) * time.Millisecond
}

// Event makes event k (0, 1, 2, …) into e. Strings of e are immutable and may be kept.
func (g *Generator) Event(k int64, e *Event) {
	adjusted := g.adjusted(k)
	e.ID = g.cfg.FirstID + adjusted
	e.DateTime = g.timeOf(adjusted)
	r := random(mix(g.salt ^ uint64(e.ID)))
	switch rest := e.ID % g.cfg.total(); {
	case rest < g.cfg.Persons:
		e.Kind = KindPerson
		g.person(&r, e)
	case rest < g.cfg.Persons+g.cfg.Auctions:
		e.Kind = KindAuction
		g.auction(&r, e, adjusted)
	default:
		e.Kind = KindBid
		g.bid(&r, e)
	}
}

// Each makes the events from (included) to to (excluded) one after the other and lends each to use, until use
// fails.
func (g *Generator) Each(from, to int64, use func(*Event) error) error {
	var e Event
	for k := from; k < to; k++ {
		g.Event(k, &e)
		if err := use(&e); err != nil {
			return err
		}
	}
	return nil
}
