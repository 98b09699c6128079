package nexmark_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
)

// check runs a property, a fifth as often in short mode. PROP_SEED says from where the random choices start.
// Tests that use it do not run in parallel, because the options of rapid are the process's.
func check(t *testing.T, checks int, property func(*rapid.T)) {
	t.Helper()
	seed := os.Getenv("PROP_SEED")
	if seed == "" {
		seed = "1"
	}
	require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(checks)))
	require.NoError(t, flag.Set("rapid.seed", seed))
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	rapid.Check(t, property)
}

// drawConfig draws what may change about the data and their order.
func drawConfig(rt *rapid.T) nexmark.Config {
	return nexmark.Config{
		Seed:             rapid.Uint64().Draw(rt, "seed"),
		Rate:             rapid.Int64Range(1, 10_000_000).Draw(rt, "rate"),
		Generators:       rapid.Int64Range(1, 4).Draw(rt, "generators"),
		OutOfOrder:       rapid.Int64Range(1, 200).Draw(rt, "group"),
		InFlightAuctions: rapid.Int64Range(1, 200).Draw(rt, "in flight"),
		ActivePeople:     rapid.Int64Range(1, 2000).Draw(rt, "active"),
		FlinkNumbering:   rapid.Bool().Draw(rt, "numbering"),
		FlinkBidders:     rapid.Bool().Draw(rt, "bidders"),
	}
}

func mustNew(rt *rapid.T, c nexmark.Config) *nexmark.Generator {
	g, err := nexmark.New(c)
	require.NoError(rt, err)
	return g
}

func TestKindsAndIDs(t *testing.T) {
	check(t, 60, func(rt *rapid.T) {
		cfg := drawConfig(rt)
		cfg.OutOfOrder = 1
		g := mustNew(rt, cfg)
		first := int64(0)
		if cfg.FlinkNumbering {
			first = 2
		}
		from := rapid.Int64Range(0, 1_000_000).Draw(rt, "from")
		counts := map[nexmark.Kind]int{}
		var person, auction int64
		require.NoError(rt, g.Each(from, from+500, func(e *nexmark.Event) error {
			require.Equal(rt, from+int64(counts[0]+counts[1]+counts[2])+first, e.ID)
			counts[e.Kind]++
			switch e.Kind {
			case nexmark.KindPerson:
				require.Equal(rt, e.ID/50+1000, e.Person.ID)
				require.True(rt, person == 0 || e.Person.ID == person+1, "persons are numbered one by one")
				person = e.Person.ID
			case nexmark.KindAuction:
				require.Equal(rt, e.ID/50*3+e.ID%50-1+1000, e.Auction.ID)
				require.True(rt, auction == 0 || e.Auction.ID == auction+1, "auctions are numbered one by one")
				auction = e.Auction.ID
			case nexmark.KindBid:
			}
			return nil
		}))
		require.Equal(rt, map[nexmark.Kind]int{0: 10, 1: 30, 2: 460}, counts)
	})
}

func TestProportions(t *testing.T) {
	check(t, 30, func(rt *rapid.T) {
		cfg := nexmark.Config{Persons: rapid.Int64Range(1, 5).Draw(rt, "persons"),
			Auctions: rapid.Int64Range(1, 5).Draw(rt, "auctions"), Bids: rapid.Int64Range(0, 30).Draw(rt, "bids")}
		total := cfg.Persons + cfg.Auctions + cfg.Bids
		counts := map[nexmark.Kind]int64{}
		person, auction := int64(1000), int64(1000)
		require.NoError(rt, mustNew(rt, cfg).Each(0, 20*total, func(e *nexmark.Event) error {
			counts[e.Kind]++
			switch e.Kind {
			case nexmark.KindPerson:
				require.Equal(rt, person, e.Person.ID)
				person++
			case nexmark.KindAuction:
				require.Equal(rt, auction, e.Auction.ID)
				auction++
			case nexmark.KindBid:
			}
			return nil
		}))
		require.Equal(rt, []int64{20 * cfg.Persons, 20 * cfg.Auctions, 20 * cfg.Bids},
			[]int64{counts[nexmark.KindPerson], counts[nexmark.KindAuction], counts[nexmark.KindBid]})
	})
}

func TestTimes(t *testing.T) {
	check(t, 60, func(rt *rapid.T) {
		cfg := drawConfig(rt)
		g := mustNew(rt, cfg)
		from := rapid.Int64Range(0, 1_000_000).Draw(rt, "from")
		base := time.Date(2015, 7, 15, 0, 0, 0, 0, time.UTC).UnixMilli()
		group := time.Duration(float64(cfg.OutOfOrder*cfg.Generators)/float64(cfg.Rate)*1e9) * time.Nanosecond
		k, newest := from, int64(0)
		require.NoError(rt, g.Each(from, from+500, func(e *nexmark.Event) error {
			require.GreaterOrEqual(rt, e.DateTime, g.Watermark(k))
			require.LessOrEqual(rt, newest-e.DateTime, group.Milliseconds()+1, "not later than its group is long")
			if cfg.OutOfOrder == 1 {
				require.GreaterOrEqual(rt, e.DateTime, newest)
				require.Equal(rt, time.Duration(e.DateTime-base)*time.Millisecond, g.Due(k))
			}
			newest = max(newest, e.DateTime)
			k++
			return nil
		}))
	})
}

// TestOutOfOrderIsAPermutation asks that shuffled events are the same as those in order, but for their order.
func TestOutOfOrderIsAPermutation(t *testing.T) {
	check(t, 20, func(rt *rapid.T) {
		size := rapid.Int64Range(2, 300).Draw(rt, "group")
		lines := func(group int64) []string {
			var out []string
			g := mustNew(rt, nexmark.Config{OutOfOrder: group})
			require.NoError(rt, g.Each(0, 2*size, func(e *nexmark.Event) error {
				out = append(out, string(nexmark.AppendJSON(nil, e)))
				return nil
			}))
			return out
		}
		require.ElementsMatch(rt, lines(1), lines(size))
	})
}

// TestEventsDependOnTheirNumberAlone makes events in any order, by another generator, and compares.
func TestEventsDependOnTheirNumberAlone(t *testing.T) {
	check(t, 20, func(rt *rapid.T) {
		cfg := drawConfig(rt)
		a, b := mustNew(rt, cfg), mustNew(rt, cfg)
		from := rapid.Int64Range(0, 1<<40).Draw(rt, "from")
		var want []string
		require.NoError(rt, a.Each(from, from+100, func(e *nexmark.Event) error {
			want = append(want, string(nexmark.AppendJSON(nil, e)))
			return nil
		}))
		var e nexmark.Event
		for _, i := range rapid.Permutation(indexes(len(want))).Draw(rt, "order") {
			b.Event(from+int64(i), &e)
			require.Equal(rt, want[i], string(nexmark.AppendJSON(nil, &e)))
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestReferences(t *testing.T) {
	check(t, 40, func(rt *rapid.T) {
		cfg := drawConfig(rt)
		g := mustNew(rt, cfg)
		from := rapid.Int64Range(0, 1_000_000).Draw(rt, "from")
		shift := int64(1000)
		if cfg.FlinkBidders {
			shift = 2000
		}
		known := func(id, newest, active, hot int64) {
			if id != newest/100*100+hot {
				require.GreaterOrEqual(rt, id, max(0, newest-active))
				require.LessOrEqual(rt, id, newest+10, "at most ten ahead of those that have come")
			}
		}
		require.NoError(rt, g.Each(from, from+1000, func(e *nexmark.Event) error {
			person := e.ID / 50
			switch e.Kind {
			case nexmark.KindAuction:
				known(e.Auction.Seller-1000, person, cfg.ActivePeople, 0)
				require.GreaterOrEqual(rt, e.Auction.Category, int64(10))
				require.Less(rt, e.Auction.Category, int64(15))
				require.Greater(rt, e.Auction.Expires, e.Auction.DateTime)
				require.GreaterOrEqual(rt, e.Auction.Reserve, e.Auction.InitialBid+100)
			case nexmark.KindBid:
				known(e.Bid.Bidder-shift, person, cfg.ActivePeople, 1)
				known(e.Bid.Auction-1000, e.ID/50*3+2, cfg.InFlightAuctions, 0)
				require.GreaterOrEqual(rt, e.Bid.Price, int64(100))
				require.LessOrEqual(rt, e.Bid.Price, int64(100_000_000))
			case nexmark.KindPerson:
			}
			return nil
		}))
	})
}

func TestNumbering(t *testing.T) {
	t.Parallel()
	ids := func(c nexmark.Config) []string {
		var out []string
		require.NoError(t, newGenerator(t, c).Each(0, 51, func(e *nexmark.Event) error {
			id := ""
			switch e.Kind {
			case nexmark.KindPerson:
				id = strconv.FormatInt(e.Person.ID, 10)
			case nexmark.KindAuction:
				id = strconv.FormatInt(e.Auction.ID, 10)
			case nexmark.KindBid:
			}
			out = append(out, strings.TrimSpace(e.Kind.String()+" "+id))
			return nil
		}))
		return out
	}
	bids := slices.Repeat([]string{"bid"}, 46)
	require.Equal(t, slices.Concat([]string{"person 1000", "auction 1000", "auction 1001", "auction 1002"}, bids,
		[]string{"person 1001"}), ids(nexmark.Config{}))
	require.Equal(t, slices.Concat([]string{"auction 1001", "auction 1002"}, bids,
		[]string{"person 1001", "auction 1003", "auction 1004"}), ids(nexmark.Config{FlinkNumbering: true}))
}

func TestSplitSharesTheIDs(t *testing.T) {
	t.Parallel()
	cfg := nexmark.Config{Events: 1_003, Seed: 3}
	parts, err := cfg.Split(4)
	require.NoError(t, err)
	next := int64(0)
	for i, p := range parts {
		g := newGenerator(t, p)
		require.Equal(t, int64([]int{250, 250, 250, 253}[i]), p.Events)
		require.NoError(t, g.Each(0, p.Events, func(e *nexmark.Event) error {
			require.Equal(t, next, e.ID)
			next++
			return nil
		}))
		require.Equal(t, 100*time.Millisecond, g.Due(250), "each takes the whole time at a quarter of the rate")
	}
	require.Equal(t, int64(1_003), next)
	_, err = cfg.Split(1_004)
	require.ErrorContains(t, err, "split 1003 events over 1004 generators")
}

func TestConfigFaultsAreAllNamed(t *testing.T) {
	t.Parallel()
	_, err := nexmark.New(nexmark.Config{Rate: -1, Persons: 1, HotSellers: -4, BidBytes: 1 << 30,
		BaseTime: time.Date(2020, 1, 1, 0, 0, 0, 1, time.UTC)})
	for _, want := range []string{"rate is -1, expected 1 to", "auctions is 0", "hot sellers is -4",
		"bytes of a bid is", "is not in whole milliseconds"} {
		require.ErrorContains(t, err, want)
	}
}

// TestFields looks at the form of every text.
func TestFields(t *testing.T) {
	t.Parallel()
	url := regexp.MustCompile(`^https://www\.nexmark\.com/[a-z_]{3,4}/[a-z_]{3,4}/[a-z_]{3,4}/` +
		`item\.htm\?query=1(&channel_id=-?[0-9]+)?$`)
	hot := map[string]string{"Google": "", "Facebook": "", "Baidu": "", "Apple": ""}
	person := regexp.MustCompile(`^(Peter|Paul|Luke|John|Saul|Vicky|Kate|Julie|Sarah|Deiter|Walter) ` +
		`(Shultz|Abrams|Spencer|White|Bartels|Walton|Smith|Jones|Noris)\|[a-z ]{0,6}@[a-z ]{0,4}\.com\|` +
		`\d{4} \d{4} \d{4} \d{4}\|` +
		`(Phoenix|Los Angeles|San Francisco|Boise|Portland|Bend|Redmond|Seattle|Kent|Cheyenne)\|` +
		`(AZ|CA|ID|OR|WA|WY)$`)
	extra := regexp.MustCompile(`^[a-z]*$`)
	require.NoError(t, newGenerator(t, nexmark.Config{Seed: 11}).Each(0, 20_000, func(e *nexmark.Event) error {
		p, a, b := e.Person, e.Auction, e.Bid
		switch e.Kind {
		case nexmark.KindPerson:
			texts := []string{p.Name, p.EmailAddress, p.CreditCard, p.City, p.State}
			require.Regexp(t, person, strings.Join(texts, "|"))
			require.Regexp(t, extra, p.Extra)
		case nexmark.KindAuction:
			for text, longest := range map[string]int{a.ItemName: 19, a.Description: 99} {
				require.LessOrEqual(t, len(text), longest)
				require.Equal(t, strings.TrimSpace(text), text)
			}
			require.Regexp(t, extra, a.Extra)
		case nexmark.KindBid:
			require.Regexp(t, url, b.URL)
			if known, is := hot[b.Channel]; is {
				require.True(t, known == "" || known == b.URL, "a hot channel has one url")
				require.NotContains(t, b.URL, "channel_id")
				hot[b.Channel] = b.URL
			} else {
				require.Regexp(t, `^channel-\d{1,4}$`, b.Channel)
			}
			require.True(t, len(b.Extra) >= 54 && len(b.Extra) < 82 && extra.MatchString(b.Extra), b.Extra)
		}
		return nil
	}))
}

// TestChannelIDs pins the number in a channel's url, which is its bits from last to first, without the sign.
func TestChannelIDs(t *testing.T) {
	t.Parallel()
	want := map[string]string{"channel-0": "0", "channel-1": "-2147483648", "channel-2": "1073741824",
		"channel-3": "1073741824", "channel-6": "1610612736"}
	seen := map[string]bool{}
	require.NoError(t, newGenerator(t, nexmark.Config{Seed: 5}).Each(0, 100_000, func(e *nexmark.Event) error {
		_, id, has := strings.Cut(e.Bid.URL, "&channel_id=")
		if number, is := want[e.Bid.Channel]; is && e.Kind == nexmark.KindBid && has {
			require.Equal(t, number, id, e.Bid.Channel)
			seen[e.Bid.Channel] = true
		}
		return nil
	}))
	require.NotEmpty(t, seen)
}

// TestTheSameForEver pins the events of a seed, so that a change of the rules is noticed.
func TestTheSameForEver(t *testing.T) {
	t.Parallel()
	sum := func(seed uint64) string {
		h := sha256.New()
		var line []byte
		require.NoError(t, newGenerator(t, nexmark.Config{Seed: seed}).Each(0, 5_000, func(e *nexmark.Event) error {
			line = append(nexmark.AppendJSON(line[:0], e), '\n')
			_, err := h.Write(line)
			return err
		}))
		return hex.EncodeToString(h.Sum(nil)[:8])
	}
	require.Equal(t, "f15e631b586830d1", sum(0))
	require.NotEqual(t, sum(0), sum(1))
}

// TestDataAreAsMeasured compares the distributions with those measured with another generator of the same
// rules.
func TestDataAreAsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("a million events")
	}
	t.Parallel()
	const events = 1_000_000
	var bids, hotChannel, hotAuction, hotBidder, extra, csv, auctions, life, longest float64
	counts := map[nexmark.Kind]int{}
	channels := map[string]bool{}
	require.NoError(t, newGenerator(t, nexmark.Config{}).Each(0, events, func(e *nexmark.Event) error {
		counts[e.Kind]++
		switch b := e.Bid; e.Kind {
		case nexmark.KindBid:
			bids++
			channels[b.Channel] = true
			hotChannel += share(!strings.HasPrefix(b.Channel, "channel-"))
			hotAuction += share(b.Auction%100 == 0)
			hotBidder += share(b.Bidder%100 == 1)
			extra += float64(len(b.Extra))
			csv += float64(len(b.Channel) + len(b.URL) + len(b.Extra) + 6)
			for _, n := range []int64{b.Auction, b.Bidder, b.Price, b.DateTime} {
				csv += float64(len(strconv.FormatInt(n, 10)))
			}
		case nexmark.KindAuction:
			ms := float64(e.Auction.Expires - e.Auction.DateTime)
			auctions++
			life += ms
			longest = max(longest, ms)
		case nexmark.KindPerson:
		}
		return nil
	}))
	require.Equal(t, map[nexmark.Kind]int{nexmark.KindPerson: 20_000, nexmark.KindAuction: 60_000,
		nexmark.KindBid: 920_000}, counts)
	require.Len(t, channels, 10_004)
	require.InDelta(t, 0.500, hotChannel/bids, 0.002)
	require.InDelta(t, 0.505, hotAuction/bids, 0.002)
	require.InDelta(t, 0.753, hotBidder/bids, 0.002)
	require.InDelta(t, 67.5, extra/bids, 0.1)
	require.InDelta(t, 172, csv/bids, 2)
	require.InDelta(t, 167, life/auctions, 2)
	require.InDelta(t, 332, longest, 1)
}

func share(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
