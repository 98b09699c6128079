package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

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

// markerMsg returns the marker as a message that is taken only if nobody has written a marker since ours.
func (s *sink) markerMsg(m marker) (*nats.Msg, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode marker: %w", err)
	}
	msg := &nats.Msg{Subject: s.subject, Data: body, Header: nats.Header{
		natsconn.MarkerHeader: {"1"},
		headerStream:          {s.stream},
		headerLastSubject:     {strconv.FormatUint(s.seq, 10)},
	}}
	if s.chain.unsettled {
		msg.Header[headerLast] = []string{strconv.FormatUint(s.chain.end, 10)}
	}
	return msg, nil
}

// commit stores m and messages in one atomic step. If the answer is lost it sets unknown.
func (s *sink) commit(ctx context.Context, m marker, messages []message) error {
	m.Here = len(messages)
	first, err := s.markerMsg(m)
	if err != nil {
		return err
	}
	if len(messages) > 0 {
		return s.commitBatch(ctx, m, first, messages)
	}
	ack, err := s.ask(ctx, first)
	if err != nil {
		return err
	}
	s.stored, s.seq, s.unknown = &m, ack.Seq, false
	s.chain.begin(ack.Seq)
	return nil
}

// A batch as small as this goes out in one go, without waiting for the server's word on its first message: that
// halves the time that tiny batches spend here.
const (
	hastyMessages = 64
	hastyBytes    = 1 << 20
)

func hasty(messages []message) bool {
	bytes := 0
	for _, m := range messages {
		bytes += len(m.body)
	}
	return len(messages) <= hastyMessages && bytes <= hastyBytes
}

func (s *sink) commitBatch(ctx context.Context, m marker, first *nats.Msg, messages []message) error {
	if hasty(messages) {
		err := s.sendBatch(ctx, m, first, messages, false)
		var api *natsconn.APIError
		if !errors.As(err, &api) || natsconn.IsAPI(err, natsconn.ErrWrongLastSeq, natsconn.ErrWrongLastSeqAny) {
			return err
		}
		// Nothing was stored. If the server had refused the first message, its answer says why.
	}
	return s.sendBatch(ctx, m, first, messages, true)
}

// sendBatch sends marker and messages as one atomic batch. With ask it waits until the server has taken the first.
func (s *sink) sendBatch(ctx context.Context, m marker, first *nats.Msg, messages []message, ask bool) error {
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	id := []string{uuid.NewString()}
	first.Header[headerBatch], first.Header[headerBatchSeq] = id, []string{"1"}
	if ask {
		err = s.beginBatch(ctx, first)
	} else if err = conn.PublishMsg(first); err != nil {
		err = fmt.Errorf("begin batch: %w", s.client.Silent(conn, err))
	}
	if err != nil {
		return err
	}
	for i, one := range messages[:len(messages)-1] {
		msg := one.msg()
		msg.Header[headerBatch], msg.Header[headerBatchSeq] = id, []string{strconv.Itoa(i + 2)}
		if err := conn.PublishMsg(msg); err != nil {
			return fmt.Errorf("send message %d of %d: %w", i+1, len(messages), s.client.Silent(conn, err))
		}
	}
	last := messages[len(messages)-1].msg()
	last.Header[headerBatch], last.Header[headerBatchSeq] = id, []string{strconv.Itoa(len(messages) + 1)}
	last.Header[headerBatchCommit] = []string{"1"}
	ack, err := s.ask(ctx, last)
	if err != nil {
		return fmt.Errorf("commit batch of %d messages: %w", len(messages), err)
	}
	// The server stores a batch without a gap; should it not, the next compare-and-set finds out.
	s.stored, s.seq, s.unknown = &m, ack.Seq-uint64(len(messages)), false
	s.chain.begin(ack.Seq)
	return nil
}

// beginBatch sends the first message, which the server answers at once: an empty answer, or why it takes no batch.
func (s *sink) beginBatch(ctx context.Context, first *nats.Msg) error {
	answer, err := s.client.Request(ctx, first)
	if err != nil {
		return fmt.Errorf("begin batch: %w", err)
	}
	if len(answer.Data) == 0 {
		return nil
	}
	var refused pubAck
	if err := json.Unmarshal(answer.Data, &refused); err == nil && refused.Error != nil {
		return fmt.Errorf("begin batch: %w", refused.Error)
	}
	return fmt.Errorf("begin batch: the server answers %q", answer.Data)
}

// ask sends a message whose answer decides. No answer means that the outcome is unknown.
func (s *sink) ask(ctx context.Context, msg *nats.Msg) (pubAck, error) {
	answer, err := s.client.Request(ctx, msg)
	if err != nil {
		s.unknown = !errors.Is(err, nats.ErrMaxPayload)
		return pubAck{}, err //nolint:wrapcheck // coded
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
