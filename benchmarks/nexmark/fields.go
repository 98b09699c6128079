package nexmark

// What persons and channels are called. City and state are chosen apart from each other.
var ( //nolint:gochecknoglobals // constant lists
	firstNames = [...]string{"Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah",
		"Deiter", "Walter"}
	lastNames = [...]string{"Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones",
		"Noris"}
	cities = [...]string{"Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond",
		"Seattle", "Kent", "Cheyenne"}
	states   = [...]string{"AZ", "CA", "ID", "OR", "WA", "WY"}
	hotNames = [...]string{"Google", "Facebook", "Baidu", "Apple"}
)

// lastPerson returns the number, from 0, of the newest person at event id e, which may be that of e itself.
func (g *Generator) lastPerson(e int64) int64 {
	total, persons := g.cfg.total(), g.cfg.Persons
	return e/total*persons + min(e%total, persons-1)
}

// lastAuction returns the number, from 0, of the newest auction at event id e; -1 if there is none yet.
func (g *Generator) lastAuction(e int64) int64 {
	epoch, offset := e/g.cfg.total(), e%g.cfg.total()
	persons, auctions := g.cfg.Persons, g.cfg.Auctions
	switch {
	case offset < persons: // the auctions of the epoch before
		return epoch*auctions - 1
	case offset >= persons+auctions:
		return epoch*auctions + auctions - 1
	default:
		return epoch*auctions + offset - persons
	}
}

// nextPerson chooses one of the active persons, or of the next few to come.
func (g *Generator) nextPerson(r *random, e int64) int64 {
	n := g.lastPerson(e) + 1
	active := min(n, g.cfg.ActivePeople)
	return n - active + r.below(active+personIDLead)
}

// nextAuction chooses one of the auctions in flight, or of the next few to come.
func (g *Generator) nextAuction(r *random, e int64) int64 {
	high := g.lastAuction(e)
	low := max(high-g.cfg.InFlightAuctions, 0)
	return low + r.below(high-low+1+auctionIDLead)
}

func (g *Generator) person(r *random, e *Event) {
	p := &e.Person
	p.ID = g.lastPerson(e.ID) + firstPersonID
	first := r.below(int64(len(firstNames)))
	p.Name = g.tables.names[int(first)*len(lastNames)+int(r.below(int64(len(lastNames))))]
	var room [32]byte
	b := append(r.appendText(room[:0], 7, ' '), '@')
	p.EmailAddress = string(append(r.appendText(b, 5, ' '), ".com"...))
	b = room[:0]
	for i := range 4 {
		if i > 0 {
			b = append(b, ' ')
		}
		n := r.below(10_000)
		b = append(b, '0'+byte(n/1000), '0'+byte(n/100%10), '0'+byte(n/10%10), '0'+byte(n%10))
	}
	p.CreditCard = string(b)
	p.City = cities[r.below(int64(len(cities)))]
	p.State = states[r.below(int64(len(states)))]
	p.DateTime = e.DateTime
	have := 8 + len(p.Name) + len(p.EmailAddress) + len(p.CreditCard) + len(p.City) + len(p.State)
	p.Extra = g.tables.extra(r, r.extraLength(int64(have), g.cfg.PersonBytes))
}

func (g *Generator) auction(r *random, e *Event, adjusted int64) {
	a := &e.Auction
	a.ID = g.lastAuction(e.ID) + firstAuctionID
	if r.below(g.cfg.HotSellers) > 0 {
		a.Seller = g.lastPerson(e.ID)/hotBatch*hotBatch + firstPersonID
	} else {
		a.Seller = g.nextPerson(r, e.ID) + firstPersonID
	}
	a.Category = firstCategoryID + r.below(categories)
	a.InitialBid = r.price()
	a.DateTime = e.DateTime
	a.Expires = e.DateTime + g.lifeOf(r, e.DateTime, adjusted)
	var room [128]byte
	a.ItemName = string(r.appendText(room[:0], 20, ' '))
	a.Description = string(r.appendText(room[:0], 100, ' '))
	a.Reserve = a.InitialBid + r.price()
	have := 8 + len(a.ItemName) + len(a.Description) + 40
	a.Extra = g.tables.extra(r, r.extraLength(int64(have), g.cfg.AuctionBytes))
}

// lifeOf chooses how many milliseconds an auction is open: on average as long as it takes for the auctions in
// flight to come.
func (g *Generator) lifeOf(r *random, at, adjusted int64) int64 {
	ahead := g.cfg.InFlightAuctions * g.cfg.total() / g.cfg.Auctions
	horizon := g.timeOf(adjusted+ahead) - at
	return 1 + r.below(max(2*horizon, 1))
}

func (g *Generator) bid(r *random, e *Event) {
	b := &e.Bid
	if r.below(g.cfg.HotAuctions) > 0 {
		b.Auction = g.lastAuction(e.ID)/hotBatch*hotBatch + firstAuctionID
	} else {
		b.Auction = g.nextAuction(r, e.ID) + firstAuctionID
	}
	if r.below(g.cfg.HotBidders) > 0 {
		b.Bidder = g.lastPerson(e.ID)/hotBatch*hotBatch + 1 + firstPersonID
	} else {
		b.Bidder = g.nextPerson(r, e.ID) + firstPersonID
	}
	if g.cfg.FlinkBidders {
		b.Bidder += firstPersonID
	}
	b.Price = r.price()
	if r.below(hotChannels) > 0 {
		i := r.below(int64(len(hotNames)))
		b.Channel, b.URL = hotNames[i], g.tables.hotURLs[i]
	} else {
		i := r.below(channels)
		b.Channel, b.URL = g.tables.channels[i], g.tables.urls[i]
	}
	b.DateTime = e.DateTime
	b.Extra = g.tables.extra(r, r.extraLength(32, g.cfg.BidBytes))
}
