package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/compression"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// sink implements stream.Sink.
type sink struct {
	cfg      stream.SinkConfig
	client   *natsconn.Client
	stream   string
	template template
	payload  string
	compress *compression.Compressor // nil: messages are plain

	owner   stream.Owner
	subject string  // of the marker
	atomic  bool    // the stream takes atomic batches
	batch   int     // of so many messages; 0: the server is asked first
	stored  *marker // as far as we know
	seq     uint64  // of the newest marker message; 0: none
	chain   chain
	unknown bool // the outcome of the last write is not known: read the marker before the next
	checked bool // without atomic batches: the tail of the stream holds nothing of an unfinished batch
}

// Write implements stream.Sink.
func (s *sink) Write(ctx context.Context, d stream.Delivery) error {
	if s.unknown {
		if err := s.lookAgain(ctx); err != nil {
			return s.fault(err)
		}
	}
	if s.holds(d) && s.stored.Done == s.stored.Messages {
		return nil
	}
	if s.atomic && s.batch == 0 {
		if err := s.askBatch(ctx); err != nil {
			return s.fault(err)
		}
	}
	m := marker{Marker: d.Marker}
	m.Epoch, m.Life = s.owner.Epoch, s.owner.Life
	staged, err := s.staged(ctx, d)
	switch {
	case err != nil:
		return err
	case staged != nil:
		return s.fault(s.writeStaged(ctx, m.of(staged), staged, nil))
	}
	return s.fault(s.writeResult(ctx, m, d.Result))
}

// holds reports whether the stored marker is of d's batch, perhaps of a part of it.
func (s *sink) holds(d stream.Delivery) bool {
	return s.stored != nil && d.Already(&s.stored.Marker)
}

// staged returns what an attempt has staged before; nil if there is nothing.
func (s *sink) staged(ctx context.Context, d stream.Delivery) ([]message, error) {
	var staged []byte
	if s.cfg.Stage != nil {
		var err error
		if staged, err = s.cfg.Stage.Staged(ctx, d.Marker.Batch, s.cfg.Name); err != nil {
			return nil, fmt.Errorf("read staged result: %w", err)
		}
	}
	if staged != nil {
		messages, ok := unpickle(staged)
		if !ok {
			return nil, diag.New(diag.StateCorrupt, "sink %q: the staged result of batch %d is damaged",
				s.cfg.Name, d.Marker.Batch)
		}
		return messages, nil
	}
	if s.holds(d) { // a part was sent, and what the rest was is not known any more
		return nil, diag.New(diag.SinkMismatch,
			"sink %q holds %d of %d messages of batch %d, but the staged result is gone",
			s.cfg.Name, s.stored.Done, s.stored.Messages, d.Marker.Batch).WithHint("restore the data dir")
	}
	return nil, nil
}

// writeResult encodes a result and writes it: as a single, as one step, or staged. The first step is sent while the rest is
// encoded; it waits for its marker, which comes last.
func (s *sink) writeResult(ctx context.Context, m marker, result stream.Batch) error {
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	first := &early{sink: s, closed: !s.atomic}
	messages, err := s.encode(result, int(conn.MaxPayload()), func(so []message) { first.send(ctx, so) })
	if err != nil {
		return err
	}
	m = m.of(messages)
	if n := s.chunk(messages); !s.atomic || n < len(messages) {
		if err := s.stage(ctx, m, messages); err != nil {
			return err
		}
		return s.writeStaged(ctx, m, messages, first.sent(n))
	}
	m.Done = len(messages)
	switch {
	case len(messages) == 0:
		return s.storeMarker(ctx, m)
	case len(messages) == 1 && s.chain.fits:
		if written, err := s.writeSingle(ctx, m, messages[0]); written || err != nil {
			return err
		}
	}
	return s.writeSteps(ctx, m, messages, 0, first.sent(len(messages)))
}

// stage makes messages durable, so that a crash between two steps leaves the rest as it was.
func (s *sink) stage(ctx context.Context, m marker, messages []message) error {
	if s.cfg.Stage == nil {
		return diag.New(diag.SinkFailed,
			"sink %q: batch %d needs %d messages, more than one step takes, and nothing can be staged",
			s.cfg.Name, m.Batch, len(messages)).WithHint("use payload = 'ndjson', or a smaller batch")
	}
	if err := s.cfg.Stage.Stage(ctx, m.Batch, s.cfg.Name, pickle(messages)); err != nil {
		return fmt.Errorf("stage result: %w", err)
	}
	return nil
}

// writeStaged writes what is staged, from where the marker says that an earlier attempt has come. open is its first step, or nil.
func (s *sink) writeStaged(ctx context.Context, m marker, messages []message, open *step) error {
	if !s.atomic {
		return s.writePlain(ctx, m, messages)
	}
	done := 0
	if s.stored != nil && sameBatch(s.stored.Marker, m.Marker) {
		done = s.stored.Done
	}
	return s.writeSteps(ctx, m, messages, done, open)
}

// early sends the first step of a batch while the rest of it is encoded.
type early struct {
	sink   *sink
	step   *step // nil: nothing was sent
	closed bool  // sends nothing, or nothing any more
}

// send sends what fits of the messages so far. A message by itself may become a single, so it waits for a second one.
func (e *early) send(ctx context.Context, so []message) {
	if e.closed || len(so) < 2 {
		return
	}
	if e.step == nil {
		e.step = e.sink.begin(e.sink.place())
	}
	if e.step.send(ctx, so[e.step.messages:]) != nil {
		e.step = nil // it is sent again in its turn, and says why
	}
	e.closed = e.step == nil || e.step.messages < len(so)
}

// sent returns the step that holds the first n messages, or nil if there is none.
func (e *early) sent(n int) *step {
	if e.step == nil || e.step.messages != n {
		return nil
	}
	return e.step
}

// fault gives an error of the server its code.
func (s *sink) fault(err error) error {
	var api *natsconn.APIError
	switch {
	case err == nil:
		return nil
	case natsconn.IsAPI(err, natsconn.ErrStreamNotFound):
		return s.client.Missing(s.stream)
	case errors.As(err, &api) && diag.CodeOf(err) == "":
		return diag.Wrap(diag.SinkFailed, err, "sink %q: stream %q refuses", s.cfg.Name, s.stream).
			WithHint("look at the stream's limits and configuration (nats stream info %s)", s.stream)
	case errors.Is(err, nats.ErrMaxPayload):
		return diag.Wrap(diag.SinkFailed, err, "sink %q", s.cfg.Name)
	}
	return err
}

// Close implements stream.Sink.
func (s *sink) Close() error {
	s.client.Close()
	return nil
}
