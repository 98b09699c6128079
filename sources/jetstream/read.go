package jetstream

import (
	"context"
	"fmt"
	"slices"
	"time"

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
	notQuiet     = 16 << 10               // bytes that have come meanwhile: more than heartbeats and answers
)

// reading is one Read on its way.
type reading struct {
	*source
	identity string
	next     uint64 // the first sequence that has not been read
	to       uint64
	out      []part // in order
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
	defer d.release()
	for d.next <= d.to {
		if err := d.step(ctx); err != nil {
			return nil, err
		}
	}
	crc := d.checksum()
	rows := d.messages()
	in := &stream.Input{Messages: rows, Lost: d.lost, CRC: crc}
	if d.info != nil && s.cfg.FS != nil && !s.cfg.Beside && volatile(d.info.Config) {
		if err := s.spool(from, to, in); err != nil {
			s.Recycle(rows)
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
	parts, p := d.feed.take(d.to)
	if len(parts) > 0 {
		d.quiet = 0
	}
	if again, err := d.advance(ctx, parts); again || err != nil {
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

// room returns memory for so many bytes.
func (d *reading) room(size int) stream.Messages {
	m := d.arenas.Take(size)
	if m.Data == nil {
		m.Data = make([]byte, 0, size)
	}
	return m
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

// advance moves next over parts that have come. It returns true if some of them were dropped and the consumer must be
// made again.
func (d *reading) advance(ctx context.Context, parts []part) (again bool, err error) {
	for i := range parts {
		p := &parts[i]
		n, err := p.len(), error(nil)
		if d.filters == nil {
			n, err = d.check(ctx, p.sequence())
		}
		whole := n == p.len()
		end := uint64(0)
		if !whole {
			end = p.sequence()[n] - 1
		}
		p.cut(n)
		d.add(*p)
		if err != nil || !whole {
			for _, rest := range parts[i+1:] {
				d.feed.release(rest)
			}
		}
		if err != nil {
			return false, err
		}
		if !whole {
			return true, d.again(ctx, end)
		}
	}
	return false, nil
}

// check returns how many of the messages with these sequences can be used: up to the first gap that the leader does not
// have as well.
func (d *reading) check(ctx context.Context, sequence []uint64) (int, error) {
	if n := uint64(len(sequence)); sequence[0] == d.next && sequence[n-1] == d.next+n-1 { // they ascend
		d.tries = 0
		return len(sequence), nil
	}
	next := d.next
	for i, seq := range sequence {
		if seq != next {
			d.next = next
			whole, err := d.gap(ctx, seq-1)
			if err != nil || !whole {
				return i, err
			}
		}
		next = seq + 1
		d.tries = 0
	}
	return len(sequence), nil
}

// add puts a part behind what there is.
func (d *reading) add(p part) {
	if n := len(d.out); p.len() == 0 || n > 0 && d.out[n-1].extend(p) {
		d.feed.release(p)
	} else {
		d.out = append(d.out, p)
	}
	if n := p.len(); n > 0 {
		d.next = p.sequence()[n-1] + 1
	}
}

// checksum is the CRC that stream.Input describes of what was read, without the sinks' markers.
func (d *reading) checksum() uint32 {
	var sum stream.Sum
	for i := range d.out {
		sum = d.out[i].sum(sum)
	}
	return uint32(sum)
}

// messages returns what was read, without the sinks' markers. What lies in one chunk is lent, not copied.
func (d *reading) messages() *stream.Messages {
	if len(d.out) == 0 {
		return nil
	}
	var markers []uint64
	size := 0
	for i := range d.out {
		markers = append(markers, d.out[i].markers...)
		size += d.out[i].stop() - d.out[i].start
	}
	if len(d.out) != 1 {
		return without(joined(d.out, d.room(size)), markers)
	}
	m := without(d.out[0].messages(), markers)
	if m != nil {
		d.lent.add(m, d.out[0])
		d.out = nil
	}
	return m
}

// release gives back the chunks that are not lent.
func (d *reading) release() {
	for _, p := range d.out {
		d.feed.release(p)
	}
	d.out = nil
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
		d.addSingle(msg)
	}
	d.tries = 0
	return nil
}

// addSingle puts a message that was read by itself behind what there is.
func (d *reading) addSingle(msg *natsconn.StoredMsg) {
	c := newChunk(len(msg.Data))
	c.add(ack{sequence: msg.Seq, published: msg.Time.UnixNano()}, natsconn.Stored(msg), d.want)
	d.out = append(d.out, c.part(0, 1))
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
// few times if it thinks that it has sent all. The patience grows, because a busy server may take long. As long as bytes
// come, as those of a large message do on a slow line, it is not quiet; a question would only wait behind them.
func (d *reading) wait(ctx context.Context, drained bool) error {
	before := d.client.Received()
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
	if now := d.client.Received(); now >= before+notQuiet {
		return nil
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
