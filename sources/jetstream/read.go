package jetstream

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// How a read waits for a consumer that says nothing, and how often it makes another before it reads at the
// leader.
const (
	quietTime    = 100 * time.Millisecond // for a consumer that has sent all it knows of
	quietTimes   = 5                      // in a row, then it is made again
	owedTime     = 3 * time.Second        // for one that knows of more
	consumersMax = 3                      // for one gap
)

// reading is one Read on its way.
type reading struct {
	*source
	identity string
	next     uint64 // the first sequence that has not been read
	to       uint64
	out      taken
	lost     int64
	tries    int // consumers made for the gap at hand
	quiet    int // times in a row that nothing came
	restarts int // consumers given up because they were silent
	info     *natsconn.StreamInfo
}

// Read implements stream.Source.
func (s *source) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	from, err := s.sequence(r.From)
	if err != nil {
		return nil, err
	}
	to, err := s.sequence(r.To)
	if err != nil {
		return nil, err
	}
	if from >= to {
		return &stream.Input{}, nil
	}
	if in, err := s.unspool(from, to); in != nil || err != nil {
		return in, err
	}
	d := &reading{source: s, identity: r.Identity, next: from + 1, to: to}
	for d.next <= d.to {
		if err := d.step(ctx); err != nil {
			return nil, err
		}
	}
	rows := d.out.rows()
	in := &stream.Input{Messages: rows, Lost: d.lost, CRC: checksum(rows)}
	if d.info != nil && s.cfg.FS != nil && !s.cfg.Beside && volatile(d.info.Config) {
		if err := s.spool(from, to, in); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// step takes what the consumer has, checks that nothing is missing in it, and waits if the range goes on.
func (d *reading) step(ctx context.Context) error {
	if !d.feed.covers(d.next-1, d.identity) {
		if err := d.startFeed(ctx, d.next-1, d.admitNew); err != nil {
			return d.fault(err)
		}
	}
	if d.info == nil {
		d.info = d.passing(d.to, d.identity)
	}
	if d.info == nil {
		info, err := d.source.info(ctx)
		if err != nil {
			return err
		}
		if err := d.admit(info); err != nil {
			return err
		}
	}
	d.reserve()
	before := len(d.out.Ends)
	p := d.feed.take(d.to, &d.out)
	if len(d.out.Ends) > before {
		d.quiet = 0
	}
	if again, err := d.advance(ctx, before); again || err != nil {
		return err
	}
	switch {
	case d.next > d.to:
		return nil
	case p.last >= d.to:
		return d.close(ctx)
	case !p.alive:
		return nil
	case d.filters != nil && p.drained:
		return d.ask(ctx)
	}
	return d.wait(ctx, p.drained)
}

// reserveBytes bounds what is reserved for a range whose size is only guessed.
const reserveBytes = 64 << 20

// reserve makes room for the whole range by the stream's average message, so that what arrives is copied once.
func (d *reading) reserve() {
	if d.filters != nil || d.out.Data != nil {
		return
	}
	state := d.info.State
	n := d.to - d.next + 1
	average := state.Bytes / max(1, state.Msgs)
	size := int(min(n*average, reserveBytes)) //nolint:gosec // at most reserveBytes
	if d.out.Messages = d.arenas.Take(size); d.out.Data == nil {
		d.out.Data = make([]byte, 0, size)
		d.out.Ends = make([]int, 0, min(n, reserveBytes/8))
		d.out.Sequence = make([]uint64, 0, min(n, reserveBytes/8))
	}
}

// admit checks that the stream is the one of the range and goes as far.
func (d *reading) admit(info *natsconn.StreamInfo) error {
	if err := d.replaced(info, d.identity); err != nil {
		return err
	}
	if info.State.LastSeq < d.to {
		return diag.New(diag.DataLoss, "source %q: stream %q ends at sequence %d, but a batch reads up to %d",
			d.cfg.Name, d.stream, info.State.LastSeq, d.to).
			WithNote("the server lost the end of the stream, and will give those sequences to other messages").
			WithHint("restore the stream, or start the query in a new data dir")
	}
	d.info = info
	return nil
}

// admitNew checks the stream under a new consumer.
func (d *reading) admitNew(info *natsconn.StreamInfo) error {
	if err := d.admit(info); err != nil || d.filters == nil {
		return err // on unfiltered reads each gap is looked at when it shows
	}
	return d.headLost(info, d.next-1)
}

// advance moves next over the messages that have been added to out since there were before of them. It
// returns true if some of them were dropped and the consumer must be made again.
func (d *reading) advance(ctx context.Context, before int) (again bool, err error) {
	if d.filters != nil {
		if n := len(d.out.Sequence); n > before {
			d.next = d.out.Sequence[n-1] + 1
		}
		return false, nil
	}
	for i := before; i < len(d.out.Sequence); i++ {
		seq := d.out.Sequence[i]
		if seq != d.next {
			whole, err := d.gap(ctx, seq-1)
			if err != nil {
				return false, err
			}
			if !whole {
				d.out.truncate(i)
				return true, d.again(ctx, seq-1)
			}
		}
		d.next = seq + 1
		d.tries = 0
	}
	return false, nil
}

// close ends the range after the consumer has passed it.
func (d *reading) close(ctx context.Context) error {
	if d.filters == nil {
		whole, err := d.gap(ctx, d.to)
		if err != nil {
			return err
		}
		if !whole {
			return d.again(ctx, d.to)
		}
	}
	d.next = d.to + 1
	return nil
}

// gap looks at sequences next to end, which the consumer left out. It returns true if the leader has none of
// them either, and then counts or refuses the loss.
func (d *reading) gap(ctx context.Context, end uint64) (gone bool, err error) {
	first, err := d.source.next(ctx, d.next)
	if err != nil {
		return false, err
	}
	if first != 0 && first <= end {
		return false, nil
	}
	return true, d.missing(ctx, d.next, end)
}

// missing handles sequences that are gone for good.
func (d *reading) missing(ctx context.Context, from, to uint64) error {
	info, err := d.client.StreamInfo(ctx, d.stream, true)
	if err != nil {
		return d.fault(err)
	}
	if volatile(info.Config) {
		d.mu.Lock()
		warned := d.warned
		d.warned = true
		d.mu.Unlock()
		if !warned {
			d.cfg.Log.Warn("the stream drops single messages by design (limit per subject, TTL, rollup or retention); gaps are "+
				"not reported as losses", "offset", from)
		}
		return nil
	}
	if d.skip {
		d.lost += int64(to - from + 1) //nolint:gosec // sequences stay far below 2^63
		d.cfg.Log.Warn("messages are gone and were skipped", "from", from, "to", to)
		return nil
	}
	return d.loss(from, to, reason(info.State, from, to))
}

// reason says what is known of sequences that are gone.
func reason(state natsconn.StreamState, from, to uint64) string {
	if to < state.FirstSeq {
		return "the stream's limits or a purge removed them"
	}
	for seq := max(from, state.FirstSeq); seq <= to; seq++ {
		if _, listed := slices.BinarySearch(state.Deleted, seq); !listed {
			return fmt.Sprintf("the server does not list sequence %d as deleted: its storage is damaged", seq)
		}
	}
	return "somebody deleted them"
}

// again makes the consumer anew at the first sequence that is missing, or, when that has not helped, reads up
// to end at the leader.
func (d *reading) again(ctx context.Context, end uint64) error {
	d.tries++
	d.cfg.Log.Warn("the consumer does not bring messages that the leader has", "from",
		d.next, "to", end)
	if d.tries > consumersMax {
		if err := d.single(ctx, end); err != nil {
			return err
		}
	}
	return d.fault(d.startFeed(ctx, d.next-1, d.admitNew))
}

// single reads sequences next to end one by one at the leader; on a filtered read, only end.
func (d *reading) single(ctx context.Context, end uint64) error {
	if d.filters != nil {
		d.next = end
	}
	for ; d.next <= end; d.next++ {
		msg, err := d.client.GetMsg(ctx, d.stream, natsconn.MsgGet{Seq: d.next})
		if err != nil {
			return d.fault(err)
		}
		if msg == nil {
			if err := d.missing(ctx, d.next, d.next); err != nil {
				return err
			}
			continue
		}
		var header nats.Header
		if len(msg.Header) > 0 {
			if header, err = nats.DecodeHeadersMsg(msg.Header); err != nil {
				return fmt.Errorf("decode headers of message %d: %w", d.next, err)
			}
		}
		d.out.append(ack{sequence: msg.Seq, published: msg.Time.UnixNano()},
			message{subject: msg.Subject, header: header, data: msg.Data}, d.want)
	}
	d.tries = 0
	return nil
}

// ask ends the range if the leader has nothing more in it, and waits otherwise.
func (d *reading) ask(ctx context.Context) error {
	first, err := d.source.next(ctx, d.next)
	if err != nil {
		return err
	}
	if first == 0 || first > d.to {
		d.feed.ends(d.to)
		return d.close(ctx)
	}
	if d.feed.arrived(first) {
		return nil
	}
	return d.wait(ctx, true)
}

// wait returns when the consumer has brought something. After some quiet the leader is asked whether there is
// anything to wait for, and if there is, the consumer is given up: at once if it owes us messages, after a
// few times if it thinks that it has sent all. The patience grows, because one large message may take long on
// a slow line.
func (d *reading) wait(ctx context.Context, drained bool) error {
	patience := owedTime << min(d.restarts, 5)
	if drained {
		patience = quietTime
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("read source %q: %w", d.cfg.Name, context.Cause(ctx))
	case <-d.feed.notify:
		return nil
	case <-timer.C:
	}
	d.quiet++
	first, err := d.source.next(ctx, d.next)
	switch {
	case err != nil:
		return err
	case first == 0 || first > d.to:
		d.feed.ends(d.to)
		return d.close(ctx)
	case !drained || d.quiet >= quietTimes:
		d.quiet = 0
		d.restarts++
		return d.again(ctx, first)
	}
	return nil
}

// checksum is the CRC that stream.Input describes.
func checksum(m *stream.Messages) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var crc uint32
	var seq [8]byte
	for i := range m.Len() {
		binary.LittleEndian.PutUint64(seq[:], m.Sequence[i])
		crc = crc32.Update(crc, table, seq[:])
		crc = crc32.Update(crc, table, m.Payload(i))
	}
	return crc
}
