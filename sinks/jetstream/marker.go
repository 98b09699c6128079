package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// marker is the payload of the marker message. It never changes in a way that an older version could misread.
type marker struct {
	stream.Marker
	Messages int    `json:"n"`              // of the batch
	Done     int    `json:"done"`           // of those, how many are in the stream; fewer than n only inside a large batch
	CRC      uint32 `json:"crc"`            // CRC32C over subjects and bodies of the batch's messages
	Here     int    `json:"here,omitempty"` // messages of the same atomic step that follow; 0 since the marker comes last
	From     uint64 `json:"from,omitempty"` // written by Open: an older owner's singles may lie between this sequence and the marker
	Tail     uint64 `json:"tail,omitempty"` // without atomic batches: an unfinished batch can only lie after this sequence
}

// of returns the marker with what it says of a batch's messages.
func (m marker) of(messages []message) marker {
	m.Messages, m.CRC = len(messages), checksum(messages)
	return m
}

func sameBatch(a, b stream.Marker) bool {
	return a.Query == b.Query && a.Batch == b.Batch && a.IntentCRC == b.IntentCRC
}

// readMarker reads the marker at the leader; nil if there is none.
func (s *sink) readMarker(ctx context.Context) (*marker, uint64, error) {
	msg, err := s.client.GetMsg(ctx, s.stream, natsconn.MsgGet{LastBySubject: s.subject})
	if err != nil || msg == nil {
		return nil, 0, err
	}
	m := new(marker)
	if err := json.Unmarshal(msg.Data, m); err != nil {
		return nil, 0, diag.Wrap(diag.SinkMismatch, err, "sink %q: message %d of stream %q on %s is no marker",
			s.cfg.Name, msg.Seq, s.stream, s.subject).WithHint("keep other writers off that subject")
	}
	return m, msg.Seq, nil
}

// lookAgain reads the marker and stops if it is not ours any more.
func (s *sink) lookAgain(ctx context.Context) error {
	found, seq, err := s.readState(ctx)
	if err != nil {
		return err
	}
	if found == nil {
		return diag.New(diag.SinkMismatch, "sink %q: the marker on subject %q of stream %q is gone", s.cfg.Name,
			s.subject, s.stream).
			WithHint("the stream was made anew, purged, or its limits dropped the marker; start once with --take-over to go on")
	}
	if err := s.owner.Fenced(s.cfg.Name, found.Marker); err != nil {
		return err //nolint:wrapcheck // coded
	}
	s.stored, s.seq, s.unknown = found, seq, false
	return nil
}

// markerMsg returns the marker as a message that is taken only if nobody has written a marker since ours.
func (s *sink) markerMsg(m marker) (*nats.Msg, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode marker: %w", err)
	}
	return &nats.Msg{Subject: s.subject, Data: body, Header: nats.Header{
		natsconn.MarkerHeader: {"1"},
		headerStream:          {s.stream},
		headerLastSubject:     {strconv.FormatUint(s.seq, 10)},
	}}, nil
}
