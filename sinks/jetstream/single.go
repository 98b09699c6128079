package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/natsconn"
)

// # Singles
//
// An atomic batch costs the server a staging store and its fsync, ten milliseconds and more, for however few rows. A
// batch that is one message needs none of it: the message itself carries the marker, in the header Tidemill-Batch, and
// is stored only if the last message of the whole stream is still the one that this sink wrote last
// (Nats-Expected-Last-Sequence), and the newest marker message the one that it knows, so that a purge shows at once
// (Nats-Expected-Last-Subject-Sequence with its -Subject). So
//
//   - singles form a chain: each lies directly behind the one before it, and the first directly behind the last message
//     of the step that wrote a marker message. Recovery reads the newest marker message, then follows the chain; the
//     last single is the marker that counts. After chainMax singles the marker is written again by itself, which begins
//     a new chain, so recovery is short;
//   - anybody's write in between breaks the chain: the single is refused, and the batch goes the way of all others, as
//     an atomic batch with a marker message. After chainBreaks such breaks the sink gives singles up;
//   - a single whose answer was lost may land later, but only in the one place behind its predecessor. As long as that
//     place is free, whatever is written next asks for the same place (chain.unsettled). One of the two wins, and what
//     is there says which;
//   - an older owner that still lives can write only until the new owner's marker is there, because that changes the
//     stream's last message. What it wrote between our look and our marker lies behind the place where we looked:
//     the marker names that place (From), Open looks at it once more and, if it finds a single, begins again. A crash
//     in between leaves From in the marker, and the next recovery looks there.
//
// Streams whose limits, retention or rollups may drop a marker or a single before the other take no singles.
const (
	chainMax    = 64
	chainBreaks = 3
)

// chain is what the sink knows of its singles.
type chain struct {
	fits      bool   // the stream takes singles
	end       uint64 // sequence of the last message of our last step; 0: unknown
	length    int    // singles since the newest marker message
	breaks    int
	unsettled bool // a single was sent that may still land at end+1
}

// begin starts a new chain behind a step whose last message is end.
func (c *chain) begin(end uint64) { c.end, c.length, c.unsettled = end, 0, false }

func fitsSingles(c natsconn.StreamConfig) bool {
	return c.AllowAtomic && (c.Retention == "" || c.Retention == "limits") && c.MaxMsgsPerSubject <= 0 &&
		c.MaxAge <= 0 && c.MaxMsgs <= 0 && c.MaxBytes <= 0 && !c.AllowRollup
}

// single is the marker on a message that holds rows.
type single struct {
	marker
	Of string `json:"of"` // subject of the marker messages of the sink that wrote it
}

// writeSingle stores the one message of a batch with its marker in it. It returns false without an error if somebody
// else wrote to the stream.
func (s *sink) writeSingle(ctx context.Context, m marker, one message) (written bool, err error) {
	const tries = 3
	for range tries {
		if s.chain.length >= chainMax && s.stored != nil {
			again := *s.stored
			again.From, again.Tail = 0, 0
			if err := s.storeMarker(ctx, again); err != nil {
				return false, err
			}
		}
		err = s.sendSingle(ctx, m, one)
		wrongPlace := natsconn.IsAPI(err, natsconn.ErrWrongLastSeq, natsconn.ErrWrongLastSeqAny)
		if err == nil || !wrongPlace && !s.unknown {
			return err == nil, err
		}
		s.chain.unsettled = s.chain.unsettled || s.unknown
		if err := s.lookAgain(ctx); err != nil {
			return false, err
		}
		switch {
		case sameBatch(s.stored.Marker, m.Marker) && s.stored.Done == m.Done:
			return true, nil
		case !s.chain.unsettled:
			if s.chain.breaks++; s.chain.breaks >= chainBreaks {
				s.chain.fits = false
			}
			return false, nil
		}
	}
	s.unknown = true
	return false, err
}

func (s *sink) sendSingle(ctx context.Context, m marker, one message) error {
	head, err := json.Marshal(single{m, s.subject})
	if err != nil {
		return fmt.Errorf("encode marker: %w", err)
	}
	msg := one.msg()
	msg.Header[headerSingle] = []string{string(head)}
	msg.Header[headerStream] = []string{s.stream}
	msg.Header[headerLast] = []string{strconv.FormatUint(s.chain.end, 10)}
	msg.Header[headerLastSubject] = []string{strconv.FormatUint(s.seq, 10)}
	msg.Header[headerLastOf] = []string{s.subject}
	ack, err := s.ask(ctx, msg)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	s.stored, s.unknown = &m, false
	s.chain.end, s.chain.unsettled = ack.Seq, false
	s.chain.length++
	return nil
}

// followed is what lies behind a step.
type followed struct {
	newest  *marker // of the last single; nil: there is none
	end     uint64  // its sequence
	length  int
	blocked bool // a message of somebody else, or a marker, comes next
}

// follow reads the singles that lie behind a sequence, at the leader.
func (s *sink) follow(ctx context.Context, after uint64) (followed, error) {
	f := followed{end: after}
	for {
		// A single in the middle that somebody deleted breaks no chain: the next message decides.
		msg, err := s.client.GetMsg(ctx, s.stream, natsconn.MsgGet{Seq: f.end + 1, NextBySubject: ">"})
		if err != nil || msg == nil {
			return f, err //nolint:wrapcheck // coded
		}
		one, ours := s.parseSingle(msg)
		if !ours {
			f.blocked = true
			return f, nil
		}
		f.newest, f.end = &one.marker, msg.Seq
		f.length++
	}
}

func (s *sink) parseSingle(msg *natsconn.StoredMsg) (single, bool) {
	var one single
	if len(msg.Header) == 0 {
		return one, false
	}
	header, err := nats.DecodeHeadersMsg(msg.Header)
	if err != nil {
		return one, false
	}
	text := header.Get(headerSingle)
	return one, text != "" && json.Unmarshal([]byte(text), &one) == nil && one.Of == s.subject
}

// readState reads the marker that counts, of the newest marker message or of a single behind it, and where the next
// single would go. It returns the sequence of the newest marker message; 0: there is none.
func (s *sink) readState(ctx context.Context) (*marker, uint64, error) {
	found, seq, err := s.readMarker(ctx)
	if err != nil || found == nil {
		s.chain.begin(0)
		return nil, 0, err
	}
	end := seq + uint64(found.Here) //nolint:gosec // not negative
	if found.From > 0 {             // the owner that wrote it may not have come to look there
		late, err := s.follow(ctx, found.From)
		if err != nil {
			return nil, 0, err
		}
		if late.newest != nil && late.newest.Batch > found.Batch {
			late.newest.Epoch, late.newest.Life = found.Epoch, found.Life // whoever wrote it, the stream is the new owner's
			found = late.newest
		}
	}
	behind, err := s.follow(ctx, end)
	if err != nil {
		return nil, 0, err
	}
	if behind.newest != nil {
		found = behind.newest
	}
	unsettled := s.chain.unsettled && behind.end == s.chain.end && !behind.blocked
	s.chain.begin(behind.end)
	s.chain.length, s.chain.unsettled = behind.length, unsettled
	return found, seq, nil
}
