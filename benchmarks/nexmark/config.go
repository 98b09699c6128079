package nexmark

import (
	"errors"
	"fmt"
	"time"
)

// The constants of the suite that no option changes.
const (
	firstPersonID   = 1000
	firstAuctionID  = 1000
	firstCategoryID = 10
	categories      = 5
	personIDLead    = 10
	auctionIDLead   = 10
	hotBatch        = 100 // ids of one batch share their hot seller, auction and bidder
	hotChannels     = 2   // 1 in so many bids is not on a hot channel
	channels        = 10_000
	stringLengthMin = 3
)

// Config says which events a Generator makes. The zero value of a field means its default, which is the
// suite's.
type Config struct {
	// Seed of every random choice. Two seeds share nothing but the shape of the data. A seed gives the same
	// events everywhere, but for a cent that the last bit of a logarithm decides about on other processors.
	Seed uint64
	// BaseTime is the event time of event 0, in whole milliseconds. Default 2015-07-15 00:00:00 UTC.
	BaseTime time.Time
	// Rate is in events per second of event time, of all generators together. Default 10,000.
	Rate int64
	// Generators is how many share the Rate; see Split. Default 1.
	Generators int64
	// Persons, Auctions and Bids are the shares of the kinds of events. Default 1, 3 and 46, if all are 0.
	Persons, Auctions, Bids int64
	// PersonBytes, AuctionBytes and BidBytes are the sizes that the column extra fills an event up to, on
	// average. Default 200, 500 and 100.
	PersonBytes, AuctionBytes, BidBytes int64
	// HotAuctions is n where all but one in n bids are on a hot auction. Default 2.
	HotAuctions int64
	// HotSellers is n where all but one in n auctions are of a hot seller. Default 4.
	HotSellers int64
	// HotBidders is n where all but one in n bids are by a hot bidder. Default 4.
	HotBidders int64
	// InFlightAuctions is how many of the newest auctions the other bids are on, and, by way of the time that
	// as many auctions take, how long an auction lives. Default 100.
	InFlightAuctions int64
	// ActivePeople is how many of the newest persons sell and bid. Default 1000.
	ActivePeople int64
	// OutOfOrder is the size of the groups in which events are shuffled. Default 1: event times never go
	// back.
	OutOfOrder int64
	// FirstID and FirstNumber shift the ids and the timeline; Split sets them.
	FirstID, FirstNumber int64
	// Events is how many events there are. Only Split needs to know; default 0, without bound.
	Events int64
	// FlinkNumbering adds 1 to FirstID and FirstNumber, as the Flink table source does: the stream begins
	// with auction 1001, and person 1000 and auction 1000 never come.
	FlinkNumbering bool
	// FlinkBidders adds FIRST_PERSON_ID twice to the bidders of bids, as the Flink generator does: bidder
	// 2000 is person 1000.
	FlinkBidders bool
}

func (c Config) withDefaults() Config {
	if c.BaseTime.IsZero() {
		c.BaseTime = time.Date(2015, 7, 15, 0, 0, 0, 0, time.UTC)
	}
	if c.Persons == 0 && c.Auctions == 0 && c.Bids == 0 {
		c.Persons, c.Auctions, c.Bids = 1, 3, 46
	}
	for _, d := range []struct {
		field *int64
		value int64
	}{
		{&c.Rate, 10_000}, {&c.Generators, 1},
		{&c.PersonBytes, 200}, {&c.AuctionBytes, 500}, {&c.BidBytes, 100},
		{&c.HotAuctions, 2}, {&c.HotSellers, 4}, {&c.HotBidders, 4},
		{&c.InFlightAuctions, 100}, {&c.ActivePeople, 1000}, {&c.OutOfOrder, 1},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

const (
	countMax  = 1 << 24 // of every option that is a count, a share or a rate
	numberMax = 1 << 52 // of event numbers: they go through float64 on their way to a time
)

// Validate returns every problem of the options, joined.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	check := func(name string, value, low, high int64) {
		if value < low || value > high {
			errs = append(errs, fmt.Errorf("%s is %d, expected %d to %d", name, value, low, high))
		}
	}
	check("rate", c.Rate, 1, countMax)
	check("generators", c.Generators, 1, countMax)
	check("persons", c.Persons, 1, countMax)
	check("auctions", c.Auctions, 1, countMax)
	check("bids", c.Bids, 0, countMax)
	check("bytes of a person", c.PersonBytes, 0, extrasBytes/2)
	check("bytes of an auction", c.AuctionBytes, 0, extrasBytes/2)
	check("bytes of a bid", c.BidBytes, 0, extrasBytes/2)
	check("hot auctions", c.HotAuctions, 1, countMax)
	check("hot sellers", c.HotSellers, 1, countMax)
	check("hot bidders", c.HotBidders, 1, countMax)
	check("in-flight auctions", c.InFlightAuctions, 1, countMax)
	check("active people", c.ActivePeople, 1, countMax)
	check("size of an out-of-order group", c.OutOfOrder, 1, countMax)
	check("first id", c.FirstID, 0, numberMax)
	check("first number", c.FirstNumber, 0, numberMax)
	check("events", c.Events, 0, numberMax)
	if us := c.BaseTime.Nanosecond(); us%int(time.Millisecond) != 0 {
		errs = append(errs, fmt.Errorf("base time %v is not in whole milliseconds", c.BaseTime))
	}
	return errors.Join(errs...)
}

// total is the number of events after which the kinds repeat.
func (c Config) total() int64 { return c.Persons + c.Auctions + c.Bids }

// Split returns the configs of n generators that share c's events as the suite does it: each has the whole
// timeline at 1/n of the rate, and a stretch of the ids of its own. c.Events must be set; the last one takes
// the remainder. What they make together is not what c makes: it has the same ids, at other times.
func (c Config) Split(n int64) ([]Config, error) {
	c = c.withDefaults()
	if n < 1 || n > countMax || c.Events < n {
		return nil, fmt.Errorf("split %d events over %d generators: expected at least one for each",
			c.Events, n)
	}
	parts := make([]Config, n)
	each := c.Events / n
	for i := range parts {
		p := c
		p.Generators = c.Generators * n
		p.FirstID = c.FirstID + int64(i)*each
		p.Events = each
		parts[i] = p
	}
	parts[n-1].Events = c.Events - each*(n-1)
	return parts, nil
}
