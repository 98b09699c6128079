package jetstream_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// singles counts the messages that carry their own marker, and markers those that are markers only.
func singles(s *testkit.Server) (singles, markers int) {
	for _, m := range s.Messages("OUT") {
		switch {
		case m.Header.Get("Tidemill-Marker") != "":
			markers++
		case m.Header.Get("Tidemill-Batch") != "":
			singles++
		}
	}
	return singles, markers
}

// next makes the fixture's owner one that comes after the last batch, with another pending if it is not negative.
func (f *fixture) next(last, pending int64) {
	f.owner.Epoch++
	f.owner.Last, f.owner.Pending = nil, nil
	if last >= 0 {
		f.owner.Last = &stream.Marker{Query: query, Batch: last, IntentCRC: uint32(last) + 7}
	}
	if pending >= 0 {
		f.owner.Pending = &stream.Marker{Query: query, Batch: pending, IntentCRC: uint32(pending) + 7}
	}
}

// openShortly opens a sink that hardly waits for answers, again until they come in time.
func (f *fixture) openShortly() stream.Sink {
	f.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		s := f.make()
		err := s.Open(f.t.Context(), f.owner)
		if err == nil {
			return s
		}
		require.True(f.t, time.Now().Before(deadline), "%v", err)
	}
}

// attempt writes until what it sends is held, and has no answer in time.
func (f *fixture) attempt(s stream.Sink, held *testkit.Held, d stream.Delivery) {
	f.t.Helper()
	for seen := false; !seen; {
		err := s.Write(f.t.Context(), d)
		require.True(f.t, diag.Temporary(err), "%v", err)
		select {
		case <-held.Seen():
			seen = true
		default:
		}
	}
}

func TestTinyBatchesAreSingles(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	s := f.open()
	for batch := range int64(200) {
		f.write(s, batch, batch)
		f.write(s, batch, batch)
		if batch%60 == 59 { // another life, which does not know whether the batch is there
			f.next(batch-1, batch)
			s = f.open()
			f.write(s, batch, 1000+batch)
		}
	}
	require.Equal(t, upTo(0, 199), rows(t, srv))
	n, markers := singles(srv)
	require.Equal(t, 200, n)
	require.Equal(t, 4, markers, "Open writes one each, and before 64 singles there is no other")
	for batch := int64(200); batch < 300; batch++ {
		f.write(s, batch, batch)
	}
	_, markers = singles(srv)
	require.Equal(t, 5, markers)
	f.next(298, 299)
	f.write(f.open(), 299, 9999)
	require.Equal(t, upTo(0, 299), rows(t, srv))
}

func TestLostAnswersOfSingles(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, nil)
	s := f.open()
	for batch := range int64(9) {
		proxy.LoseAnswerTo("Tidemill-Batch")
		eventually(t, s, f.batch(batch, batch))
	}
	require.Equal(t, 9, proxy.Lost())
	require.Equal(t, upTo(0, 8), rows(t, srv))
	n, _ := singles(srv)
	require.Equal(t, 9, n)
}

// A single that is still on its way when its owner dies lands before the next owner has looked, between its look and
// its marker, or after; in each case the batch is there once.
func TestSingleThatLandsLate(t *testing.T) {
	for _, landing := range []string{"before", "between", "after", "never"} {
		t.Run(landing, func(t *testing.T) {
			srv := testkit.StartNATS(t)
			oldLine, newLine := testkit.StartProxy(t, srv.URL()), testkit.StartProxy(t, srv.URL())
			f := newFixture(t, oldLine.URL, stream.Options{"connect_timeout": shortly})
			old := f.openShortly()
			eventually(t, old, f.batch(0, 0))
			held := oldLine.Hold("Tidemill-Batch")
			t.Cleanup(held.Release)
			f.attempt(old, held, f.batch(1, 1))
			land := func(want uint64) {
				held.Release()
				require.Eventually(t, func() bool { return lastSequence(t, srv) >= want }, patience, tick)
			}
			if landing == "before" {
				land(3)
			}
			f.next(0, 1)
			f.url, f.options = newLine.URL, nil
			fresh := f.make()
			marker := newLine.Hold("Tidemill-Marker")
			opened := make(chan error, 1)
			go func() { opened <- fresh.Open(t.Context(), f.owner) }()
			<-marker.Seen()
			if landing == "between" {
				land(3)
			}
			marker.Release()
			require.NoError(t, <-opened)
			if landing == "after" {
				held.Release()
			}
			f.write(fresh, 1, 1)
			f.write(fresh, 2, 2)
			require.Equal(t, upTo(0, 2), rows(t, srv))
			oldLine.Cut()
			requireCode(t, diag.SinkFenced, final(t, old, f.batch(2, 99)))
			require.Equal(t, upTo(0, 2), rows(t, srv))
		})
	}
}

// The owner itself retries while its first attempt is still on its way.
func TestSingleOvertakenByItsRetry(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, stream.Options{"connect_timeout": shortly})
	s := f.openShortly()
	for batch := range int64(6) {
		held := proxy.Hold("Tidemill-Batch")
		f.attempt(s, held, f.batch(batch, batch))
		switch batch % 3 {
		case 0: // the retry is first
			proxy.Cut()
			eventually(t, s, f.batch(batch, batch))
			held.Release()
		case 1: // the first attempt is first
			held.Release()
			eventually(t, s, f.batch(batch, batch))
		case 2: // somebody else is first
			srv.Publish(1, func(int) (string, []byte) { return "out.foreign", []byte(`{"id":-1}`) })
			held.Release()
			proxy.Cut()
			eventually(t, s, f.batch(batch, batch))
		}
	}
	require.Equal(t, upTo(0, 5), ours(rows(t, srv)))
}

func ours(ids []int64) []int64 {
	var out []int64
	for _, id := range ids {
		if id >= 0 {
			out = append(out, id)
		}
	}
	return out
}

func lastSequence(t testing.TB, s *testkit.Server) uint64 {
	t.Helper()
	st, err := s.JetStream().Stream(t.Context(), "OUT")
	require.NoError(t, err)
	return st.CachedInfo().State.LastSeq
}

// TestSinglesAmongOthers mixes tiny and larger batches, foreign writers, lost answers and new lives.
func TestSinglesAmongOthers(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test that repeats
		f := newFixture(t, proxy.URL, nil)
		f.owner.Name = fmt.Sprintf("q%d", seed)
		s := f.open()
		first, id := lastSequence(t, srv), int64(0)
		for batch := range int64(25) {
			n := int64(1)
			if random.IntN(3) == 0 {
				n = 5
			}
			if random.IntN(4) == 0 {
				srv.Publish(1, func(int) (string, []byte) { return "out.foreign", []byte(`{"id":-1}`) })
			}
			if random.IntN(3) == 0 {
				proxy.LoseAnswerTo([]string{"Tidemill-Batch", "Nats-Batch-Commit"}[random.IntN(2)])
			}
			eventually(t, s, f.batch(batch, upTo(id, id+n-1)...))
			if random.IntN(3) == 0 {
				f.next(batch-1, batch)
				if random.IntN(2) == 0 {
					f.next(batch, -1)
				}
				proxy.LoseAnswerTo("none")
				s = f.open()
				eventually(t, s, f.batch(batch, upTo(id, id+n-1)...))
			}
			id += n
		}
		require.Equal(t, upTo(0, id-1), ours(rowsAfter(t, srv, first)), "seed %d", seed)
	}
}

// Streams that may drop a marker before the single that counts on it take no singles.
func TestStreamsThatForgetTakeNoSingles(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out", "out.>"}, AllowAtomicPublish: true,
		MaxMsgsPerSubject: 1})
	f := newFixture(t, srv.URL(), nil)
	s := f.open()
	f.write(s, 0, 0)
	f.write(s, 1, 1)
	n, _ := singles(srv)
	require.Zero(t, n)
	f.next(0, 1)
	f.write(f.open(), 1, 7)
	require.Equal(t, []int64{1}, rows(t, srv))
}

// Two processes run copies of one data directory: both are in epoch 2, and each has batches of its own under the same
// numbers. Whichever way they meet, the one that lost the place sends nothing.
func TestCopiesOfOneEpoch(t *testing.T) {
	for name, options := range map[string]stream.Options{
		"singles": {"rows_per_message": int64(100)}, "batches": {"rows_per_message": int64(1)},
		"plain": {"stream": "PLAIN", "subject": "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.StartNATS(t)
			srv.CreateStream(jetstream.StreamConfig{Name: "PLAIN", Subjects: []string{"plain", "plain.>"}})
			f := newFixture(t, srv.URL(), options)
			f.write(f.open(), 0, 0) // no life: of before there were any
			f.next(0, -1)
			f.owner.Life, f.owner.Lives = "one", []string{"one"}
			one := f.open()
			f.write(one, 1, 1, 2)
			copied := *f
			copied.owner.Life, copied.owner.Lives, copied.stage = "two", []string{"two"}, &stager{data: map[int64][]byte{}}
			requireCode(t, diag.SinkMismatch, copied.make().Open(t.Context(), copied.owner))
			f.write(one, 2, 3)

			copied.owner.TakeOver = true
			two := copied.open()
			other := copied.batch(1, 11, 12)
			other.Marker.IntentCRC++
			requireCode(t, diag.SinkFenced, one.Write(t.Context(), f.batch(3, 4, 5)))
			require.NoError(t, two.Write(t.Context(), other))
			requireCode(t, diag.SinkFenced, one.Write(t.Context(), f.batch(3, 4, 5)))
			name := "OUT"
			if s, ok := options["stream"].(string); ok {
				name = s
			}
			require.Equal(t, []int64{0, 1, 2, 3, 11, 12}, rowsOf(t, srv, name, 0))
		})
	}
}
