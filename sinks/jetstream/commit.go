package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// Headers of the server's protocol, and ours.
const (
	headerStream      = "Nats-Expected-Stream"
	headerLastSubject = "Nats-Expected-Last-Subject-Sequence"
	headerLastOf      = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerLast        = "Nats-Expected-Last-Sequence"
	headerLastID      = "Nats-Expected-Last-Msg-Id"
	headerBatch       = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
	headerMsgID       = "Nats-Msg-Id"
	headerOp          = "Tidemill-Op"
	headerPos         = "Tidemill-Pos"
	headerSingle      = "Tidemill-Batch"
)

// pubAck is what the server answers to a message, or to the last one of a batch.
type pubAck struct {
	Error     *natsconn.APIError `json:"error"`
	Stream    string             `json:"stream"`
	Seq       uint64             `json:"seq"`
	Duplicate bool               `json:"duplicate"`
	Count     int                `json:"count"`
}

func (m message) msg() *nats.Msg {
	msg := &nats.Msg{Subject: m.subject, Data: m.body, Header: nats.Header{}}
	if m.deleted {
		msg.Header[headerOp] = []string{stream.OpDelete}
	}
	return msg
}

// writeSteps stores messages from done on in steps, one after the other, each with a marker that says how many are there. The
// first step is open already unless that is nil.
//
// While the server commits a step, the messages of the next one are on their way. Only its marker, which makes them visible,
// waits until the server has said where the marker before it is. So no step is ever stored without those before it, and what
// was sent ahead of a step that failed is forgotten.
func (s *sink) writeSteps(ctx context.Context, m marker, messages []message, done int, open *step) error {
	for done < len(messages) {
		next := done + s.chunk(messages[done:])
		m.Done = next
		ahead, err := s.storeStep(ctx, m, messages[done:next], messages[next:], open)
		if err != nil {
			return err
		}
		done, open = next, ahead
	}
	return nil
}

// storeStep stores here with the marker m in one step, which is open unless that is nil, and returns the next one, of rest,
// if that could be sent meanwhile.
func (s *sink) storeStep(ctx context.Context, m marker, here, rest []message, open *step) (ahead *step, err error) {
	if open == nil {
		open, err = s.sendStep(ctx, here, s.place())
	}
	if err == nil {
		ahead, err = s.commitStep(ctx, m, open, rest)
	}
	if err != nil {
		return nil, s.settle(ctx, m, here, err)
	}
	return ahead, nil
}

// commitStep commits a step and sends the next one, of rest, meanwhile.
func (s *sink) commitStep(ctx context.Context, m marker, t *step, rest []message) (ahead *step, err error) {
	answer, err := t.commit(ctx, m)
	if err != nil {
		s.unknown = true
		return nil, err
	}
	if len(rest) > 0 {
		ahead, _ = s.sendStep(ctx, rest, 0) // if that fails it is sent in its turn, and says why
	}
	if err := s.settled(m, answer.Await); err != nil {
		return nil, fmt.Errorf("commit batch of %d messages: %w", t.messages, err)
	}
	return ahead, nil
}

// storeMarker stores a marker by itself.
func (s *sink) storeMarker(ctx context.Context, m marker) error {
	if err := s.writeMarker(ctx, m); err != nil {
		return s.settle(ctx, m, nil, err)
	}
	return nil
}

func (s *sink) writeMarker(ctx context.Context, m marker) error {
	msg, err := s.markerMsg(m)
	if err != nil {
		return err
	}
	if after := s.place(); after > 0 {
		msg.Header[headerLast] = []string{strconv.FormatUint(after, 10)}
	}
	return s.settled(m, func() (*nats.Msg, error) { return s.client.Request(ctx, msg) })
}

// settled waits for the answer to the marker m, which is then the last message of our last step.
func (s *sink) settled(m marker, answer func() (*nats.Msg, error)) error {
	ack, err := s.decided(answer())
	if err != nil {
		return err
	}
	s.stored, s.seq, s.unknown = &m, ack.Seq, false
	s.chain.begin(ack.Seq)
	return nil
}

// settle finds out what became of an attempt to store messages and a marker that ended with err, and tries again where
// nothing was stored.
func (s *sink) settle(ctx context.Context, m marker, messages []message, err error) error {
	const again = 2
	for tried := 0; ; tried++ {
		stored, final := s.outcome(ctx, m, messages, err)
		if stored || final != nil {
			return final
		}
		if tried == again {
			return s.refused(ctx, messages, err)
		}
		if err = s.tryAgain(ctx, m, messages); err == nil {
			return nil
		}
	}
}

// outcome reports whether an attempt that ended with err was stored after all. An error ends the attempts.
func (s *sink) outcome(ctx context.Context, m marker, messages []message, err error) (stored bool, _ error) {
	switch {
	case s.unknown, natsconn.IsAPI(err, natsconn.ErrWrongLastSeq, natsconn.ErrWrongLastSeqAny):
		// Either somebody was faster, perhaps our own earlier attempt, or the answer was lost.
		if again := s.lookAgain(ctx); again != nil {
			return false, errors.Join(err, again)
		}
		return s.landed(m, len(messages), err)
	case natsconn.IsAPI(err, natsconn.ErrBatchIncomplete):
		return false, nil
	case natsconn.IsAPI(err, natsconn.ErrBatchTooLarge):
		s.batch = 0 // the server has changed its mind
	}
	return false, err
}

// landed reports whether the marker in the stream is m, of a step of n messages. An earlier attempt may have cut the batch
// otherwise, since the server took more then: what it has stored of this step must not be stored again, so the next Write goes
// on behind it.
func (s *sink) landed(m marker, n int, err error) (bool, error) {
	switch {
	case !sameBatch(s.stored.Marker, m.Marker) || s.stored.Done <= m.Done-n && s.stored.Done != m.Done:
		return false, nil
	case s.stored.Done != m.Done:
		return false, diag.Retry(diag.Wrap(diag.SinkFailed, err, "sink %q: an earlier attempt at batch %d stored %d messages of it",
			s.cfg.Name, m.Batch, s.stored.Done))
	}
	return true, nil
}

// refused returns why the server does not take a step, which it says of a message in the middle only to somebody who asks for
// its word on each; else err.
func (s *sink) refused(ctx context.Context, messages []message, err error) error {
	if !natsconn.IsAPI(err, natsconn.ErrBatchIncomplete) {
		return err
	}
	t := s.begin(s.place())
	for _, m := range messages {
		if why := t.probe(ctx, m); why != nil {
			return why
		}
	}
	return err
}

// tryAgain asks for the server's word on the first message: if it refuses that, it refuses the rest too, but says why with
// the first only.
func (s *sink) tryAgain(ctx context.Context, m marker, messages []message) error {
	if len(messages) == 0 {
		return s.writeMarker(ctx, m)
	}
	t := s.begin(s.place())
	if err := t.probe(ctx, messages[0]); err != nil {
		return err
	}
	if err := t.send(ctx, messages[1:]); err != nil {
		return err
	}
	_, err := s.commitStep(ctx, m, t, nil)
	return err
}

// ask sends a message whose answer decides.
func (s *sink) ask(ctx context.Context, msg *nats.Msg) (pubAck, error) {
	return s.decided(s.client.Request(ctx, msg))
}

// decided reads an answer that decides. No answer means that the outcome is unknown.
func (s *sink) decided(answer *nats.Msg, err error) (pubAck, error) {
	if err != nil {
		s.unknown = !errors.Is(err, nats.ErrMaxPayload)
		return pubAck{}, err
	}
	return decodeAck(answer.Data)
}

func decodeAck(data []byte) (pubAck, error) {
	var ack pubAck
	if err := json.Unmarshal(data, &ack); err != nil {
		return ack, fmt.Errorf("decode acknowledgement %q: %w", data, err)
	}
	if ack.Error != nil {
		return ack, ack.Error
	}
	return ack, nil
}
