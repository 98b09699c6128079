package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// source implements stream.Source and stream.Waiter.
type source struct {
	cfg     stream.SourceConfig
	client  *natsconn.Client
	feed    *feed
	stream  string
	filters []string
	begin   start
	skip    bool // on_data_loss = 'skip'
	want    want
	arenas  stream.Arenas // of batches that were put together of several chunks
	lent    lent

	mu       sync.Mutex           // guards all below
	prepared bool                 // the stream's kind is known, and its durable consumer there if it takes one
	warned   bool                 // about gaps by design
	said     *natsconn.StreamInfo // what the leader said of the stream last
	saidAt   time.Time
	searched uint64    // filtered reads: nothing that was not read matches up to here
	moved    time.Time // filtered reads: when the position last moved over messages that do not match
}

func offset(sequence uint64) stream.Offset { return stream.Offset(strconv.FormatUint(sequence, 10)) }

func (s *source) sequence(o stream.Offset) (uint64, error) {
	n, err := strconv.ParseUint(string(o), 10, 64)
	if err != nil {
		return 0, diag.New(diag.Internal, "source %q: %q is no offset of a jetstream source", s.cfg.Name, string(o))
	}
	return n, nil
}

// Start implements stream.Source.
func (s *source) Start(ctx context.Context) (from stream.Offset, identity string, err error) {
	if err := s.prepare(ctx, true); err != nil {
		return "", "", err
	}
	info, err := s.info(ctx)
	if err != nil {
		return "", "", err
	}
	from, err = s.first(ctx, info.State)
	return from, info.Identity(), err
}

// first returns the position before the first message that a new query reads.
func (s *source) first(ctx context.Context, state natsconn.StreamState) (stream.Offset, error) {
	switch {
	case s.begin.word == "earliest":
		return offset(state.FirstSeq - 1), nil
	case s.begin.word == "latest":
		return offset(state.LastSeq), nil
	case s.begin.sequence > state.LastSeq+1:
		return "", diag.New(diag.BadOption, "start of source %q is sequence %d, but stream %q ends at %d",
			s.cfg.Name, s.begin.sequence, s.stream,
			state.LastSeq).WithHint("use start = 'latest' to read what is still to come")
	case s.begin.sequence > 0:
		return offset(s.begin.sequence - 1), nil
	}
	return s.at(ctx, state, s.begin.at)
}

// At implements stream.TimeBound. A server whose clock went backwards may give a position off by as much.
func (s *source) At(ctx context.Context, t time.Time) (stream.Offset, error) {
	info, err := s.info(ctx)
	if err != nil {
		return "", err
	}
	return s.at(ctx, info.State, t)
}

// at returns the position before the first message stored at or after a time. The server finds it by a search
// over message times, and says where a consumer that starts there begins.
func (s *source) at(ctx context.Context, state natsconn.StreamState, t time.Time) (stream.Offset, error) {
	config := map[string]any{
		"deliver_policy": "by_start_time", "opt_start_time": t.UTC(), "ack_policy": "none", "mem_storage": true,
		"num_replicas": 1, "inactive_threshold": 10 * time.Second,
	}
	var made struct {
		Name      string `json:"name"`
		Delivered struct {
			Stream uint64 `json:"stream_seq"`
		} `json:"delivered"`
	}
	request := map[string]any{"stream_name": s.stream, "config": config}
	if err := s.client.API(ctx, "CONSUMER.CREATE."+s.stream, request, &made); err != nil {
		return "", s.fault(fmt.Errorf("find start time: %w", err))
	}
	if err := s.client.API(ctx, "CONSUMER.DELETE."+s.stream+"."+made.Name, nil, nil); err != nil {
		s.cfg.Log.Debug("consumer stays until the server forgets it", "err", err)
	}
	return offset(max(made.Delivered.Stream, state.FirstSeq-1)), nil
}

// info asks the leader for the stream and refuses one that this reader must not take messages from.
func (s *source) info(ctx context.Context) (*natsconn.StreamInfo, error) {
	info, err := s.client.StreamInfo(ctx, s.stream, false)
	if err != nil {
		return nil, s.fault(err)
	}
	if err := s.admitQueue(info.Config); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.said, s.saidAt = info, time.Now()
	s.mu.Unlock()
	return info, nil
}

// Locate implements stream.Located.
func (s *source) Locate(ctx context.Context) (stream.Location, error) {
	info, err := s.client.StreamInfo(ctx, s.stream, false)
	if err != nil {
		return stream.Location{}, s.fault(err)
	}
	read := s.filters
	if read == nil {
		read = []string{">"}
	}
	return stream.Location{ID: info.Place(), Name: fmt.Sprintf("stream %q", s.stream), Subjects: read}, nil
}

// fault gives an error of the server its code.
func (s *source) fault(err error) error {
	var api *natsconn.APIError
	switch {
	case err == nil:
		return nil
	case natsconn.IsAPI(err, natsconn.ErrStreamNotFound):
		return s.client.Missing(s.stream)
	case errors.As(err, &api) && diag.CodeOf(err) == "":
		return diag.Wrap(diag.SourceUnreachable, err, "source %q: the server refuses", s.cfg.Name).
			WithHint("look at the server's log and at the user's permissions on $JS.API.>")
	}
	return err
}

// replaced compares the stream's life with the one that was read before.
func (s *source) replaced(info *natsconn.StreamInfo, identity string) error {
	if identity == "" || identity == info.Identity() {
		return nil
	}
	return diag.New(diag.SourceReplaced,
		"stream %q of source %q is not the one that was read so far: it was created at %s",
		s.stream, s.cfg.Name, info.Created.UTC().Format(time.RFC3339Nano)).
		WithNote("was %s", identity).WithNote("is  %s", info.Identity()).
		WithHint("restore the stream from a backup, or start the query in a new data dir")
}

// volatile reports whether the stream drops single messages by design.
func volatile(c natsconn.StreamConfig) bool {
	return c.MaxMsgsPerSubject > 0 || c.AllowMsgTTL || c.AllowRollup || queued(c)
}

// Available implements stream.Source. The limit on bytes is kept exactly for messages that are in the buffer
// already; beyond them the stream's average message size stands in.
func (s *source) Available(
	ctx context.Context, from stream.Offset, identity string, limit stream.Limit,
) (stream.Available, error) {
	after, err := s.sequence(from)
	if err != nil {
		return stream.Available{}, err
	}
	if a, ok := s.arrived(after, identity, limit); ok {
		return a, nil
	}
	info, err := s.info(ctx)
	if err != nil {
		return stream.Available{}, err
	}
	if err := s.replaced(info, identity); err != nil {
		return stream.Available{}, err
	}
	newest, err := s.newest(info, after, limit)
	if err != nil {
		return stream.Available{}, err
	}
	to := newest
	if after < newest {
		if to, err = s.reach(ctx, info, after, newest, limit); err != nil {
			return stream.Available{}, err
		}
	}
	s.feed.expect(to, s.estimate(info.State, to-after, limit))
	behind := int64(newest - to) //nolint:gosec // sequences stay far below 2^63
	if s.filters != nil && behind > 0 {
		behind = -1
	}
	if to == after && s.filters != nil {
		behind = 0
	}
	return stream.Available{To: offset(to), Identity: info.Identity(), Behind: behind}, nil
}

// arrived answers Available without a word from the server where the whole rest of the stream has come already: a query
// that keeps up asks for every batch, and the answer would take longer than a batch of few rows. A stream that was
// replaced meanwhile takes its consumers with it, so that nothing of it is in the feed.
func (s *source) arrived(after uint64, identity string, limit stream.Limit) (stream.Available, bool) {
	said := s.known(identity)
	whole := limit.Rows == 0 && limit.Bytes == 0 // where the stream ends is asked of the server
	if s.filters != nil || limit.Until != "" || whole || said == nil {
		return stream.Available{}, false
	}
	last, life, drained, ok := s.feed.held(after)
	if !ok || !drained || life != identity || said.State.LastSeq > last {
		return stream.Available{}, false
	}
	to := last
	known, end, cut := s.feed.ahead(after, limit.Rows, limit.Bytes)
	if cut {
		to = min(end, last)
	}
	s.feed.expect(to, known.bytes)
	return stream.Available{To: offset(to), Identity: life, Behind: int64(last - to)}, true //nolint:gosec // small
}

// infoFor is how long what the server said of the stream stands for what it would say.
const infoFor = time.Second

// known returns what the server said a moment ago of the stream that identity names, or nil.
func (s *source) known(identity string) *natsconn.StreamInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said == nil || time.Since(s.saidAt) >= infoFor || s.said.Identity() != identity {
		return nil
	}
	return s.said
}

// passing returns what the server said a moment ago, if that is enough to read up to a sequence that is in the feed.
func (s *source) passing(to uint64, identity string) *natsconn.StreamInfo {
	said := s.known(identity)
	if s.filters != nil || said == nil {
		return nil
	}
	if last, life, _, ok := s.feed.held(to - 1); !ok || last < to || life != identity {
		return nil
	}
	return said
}

// newest checks that what follows a position is still there, and returns the last sequence that a batch may
// end at.
func (s *source) newest(info *natsconn.StreamInfo, after uint64, limit stream.Limit) (uint64, error) {
	state := info.State
	if state.LastSeq < after {
		return 0, diag.New(diag.DataLoss, "source %q: stream %q ends at sequence %d, but %d has been read",
			s.cfg.Name, s.stream, state.LastSeq, after).
			WithNote("the server lost the end of the stream, and will give those sequences to other messages").
			WithHint("restore the stream, or start the query in a new data dir")
	}
	if err := s.headLost(info, after); err != nil {
		return 0, err
	}
	if limit.Until == "" {
		return state.LastSeq, nil
	}
	until, err := s.sequence(limit.Until)
	return max(after, min(state.LastSeq, until)), err
}

// headLost reports the loss of what lies between a position and the first message that is kept.
func (s *source) headLost(info *natsconn.StreamInfo, after uint64) error {
	first := info.State.FirstSeq
	if first <= after+1 || s.skip || volatile(info.Config) {
		return nil
	}
	s.mu.Lock()
	searched := s.searched
	s.mu.Unlock()
	if s.filters != nil && first <= searched+1 {
		return nil
	}
	return s.loss(after+1, first-1, "the stream's limits or a purge removed them before they were read")
}

func (s *source) loss(from, to uint64, why string) error {
	what := fmt.Sprintf("sequences %d to %d", from, to)
	if from == to {
		what = fmt.Sprintf("sequence %d", from)
	}
	return diag.New(diag.DataLoss, "source %q: %s of stream %q are gone", s.cfg.Name, what, s.stream).
		WithNote("%s", why).
		WithHint("set on_data_loss = 'skip' to count them and go on, or start the query in a new data dir")
}

// reach returns how far a batch may go: what is in the buffer counts exactly, what follows by sequence and by
// the average size.
func (s *source) reach(
	ctx context.Context, info *natsconn.StreamInfo, after, newest uint64, limit stream.Limit,
) (uint64, error) {
	begin := max(after, info.State.FirstSeq-1)
	known, last, cut := s.feed.ahead(after, limit.Rows, limit.Bytes)
	if cut {
		return min(last, newest), nil
	}
	if s.filters != nil && known.rows == 0 {
		idle, next, err := s.idle(ctx, after, max(begin, last), newest)
		if err != nil || idle {
			return next, err
		}
		begin = next
	}
	room := uint64(1<<63 - 1)
	if limit.Rows > 0 {
		room = uint64(limit.Rows - known.rows) //nolint:gosec // not negative, else it was cut
	}
	if average := info.State.Bytes / max(1, info.State.Msgs); limit.Bytes > 0 && average > 0 {
		room = min(room, uint64(limit.Bytes-known.bytes)/average) //nolint:gosec // as above
	}
	if known.rows == 0 {
		room = max(1, room) // one large message must not stop the query
	}
	end := max(begin, last)
	if newest-min(newest, end) <= room {
		return newest, nil
	}
	return min(newest, end+room), nil
}

// How far and how long a filtered read lets its position stay behind messages that do not match. It moves now
// and then, so that it does not fall out of a stream that forgets old messages.
const (
	idleSequences = 10_000
	idleTime      = time.Minute
)

// estimate returns about how many bytes n sequences hold.
func (s *source) estimate(state natsconn.StreamState, n uint64, limit stream.Limit) int64 {
	bytes := int64(min(n, state.Msgs) * (state.Bytes / max(1, state.Msgs))) //nolint:gosec // of a stream's size
	if s.filters != nil {
		bytes = min(bytes, chunkBytesMin) // who knows how many of them match
	}
	if limit.Bytes > 0 {
		bytes = min(bytes, limit.Bytes)
	}
	return bytes
}

// idle looks for the first message of a filtered read after a sequence. If none up to newest matches, it
// returns true and where a batch should end: usually the position itself, so that there is no batch.
// Otherwise next is the sequence before that message.
func (s *source) idle(ctx context.Context, from, after, newest uint64) (none bool, next uint64, err error) {
	first, err := s.next(ctx, after+1)
	if err != nil {
		return false, 0, err
	}
	if first != 0 && first <= newest {
		return false, first - 1, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.searched = max(s.searched, newest)
	now := s.clock().Now()
	if s.moved.IsZero() {
		s.moved = now
	}
	if newest-from < idleSequences && now.Sub(s.moved) < idleTime {
		return true, from, nil
	}
	s.moved = now
	return true, newest, nil
}

func (s *source) clock() clock.Clock {
	if s.cfg.Clock == nil {
		return clock.System{}
	}
	return s.cfg.Clock
}

// next returns the sequence of the first message at or after a sequence that the source reads, as the leader
// has it, or 0.
func (s *source) next(ctx context.Context, from uint64) (uint64, error) {
	filters := s.filters
	if filters == nil {
		filters = []string{">"}
	}
	var first uint64
	for _, f := range filters {
		msg, err := s.client.GetMsg(ctx, s.stream, natsconn.MsgGet{Seq: from, NextBySubject: f})
		if err != nil {
			return 0, s.fault(fmt.Errorf("look for messages from %d: %w", from, err))
		}
		if msg != nil && (first == 0 || msg.Seq < first) {
			first = msg.Seq
		}
	}
	return first, nil
}

// Wait implements stream.Waiter: it returns when the standing consumer brings something, and now and then
// without.
func (s *source) Wait(ctx context.Context, from stream.Offset) error {
	after, err := s.sequence(from)
	if err != nil {
		return err
	}
	if !s.feed.covers(after, "") {
		err := s.startFeed(ctx, after, func(*natsconn.StreamInfo) error { return nil })
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return s.fault(err)
		}
	}
	if s.feed.arm(after) {
		return nil
	}
	timer := time.NewTimer(2 * requestAlive)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	case <-s.feed.notify:
	}
	return nil
}

// Close implements stream.Source.
func (s *source) Close() error {
	s.feed.stop()
	s.client.Close()
	return nil
}
