package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
)

// windowMessages is how many messages are sent before their acknowledgements are awaited.
const windowMessages = 256

// writePlain writes a staged batch message by message, each only directly behind its predecessor, then the
// marker.
func (s *sink) writePlain(ctx context.Context, m marker, messages []message) error {
	const tries = 10 // in a row without a message stored
	done, last, err := s.tail(ctx, m, len(messages))
	for failed := 0; err == nil && done < len(messages); {
		window := messages[done:min(len(messages), done+windowMessages)]
		n, problem := s.sendWindow(ctx, m, window, place{index: done, last: last})
		if problem == nil {
			done, last, failed = done+n, last+uint64(n), 0
			continue
		}
		if failed++; failed == tries || !errors.Is(problem, errBroken) {
			return problem
		}
		// Somebody wrote in between, or an answer was lost. The stream says where we are.
		s.checked = false
		before := done
		if err = s.lookAgain(ctx); err == nil {
			done, last, err = s.tail(ctx, m, len(messages))
		}
		if done > before {
			failed = 0
		}
	}
	if err != nil {
		s.checked = false
		return err
	}
	m.Done, m.Tail = len(messages), 0
	if err := s.storeMarker(ctx, m); err != nil {
		s.checked = false
		return err
	}
	s.checked = true
	return nil
}

// tail returns how many messages of the batch the stream holds, and its last sequence.
func (s *sink) tail(ctx context.Context, m marker, n int) (done int, last uint64, err error) {
	info, err := s.client.StreamInfo(ctx, s.stream, false)
	if err != nil {
		return 0, 0, err //nolint:wrapcheck // coded
	}
	last = info.State.LastSeq
	if last != s.seq { // perhaps a new owner's marker; one that comes from here on breaks the first window
		if err := s.lookAgain(ctx); err != nil {
			return 0, 0, err
		}
	}
	if s.checked {
		return 0, last, nil
	}
	from := s.seq
	if s.stored != nil && s.stored.Tail > 0 {
		from = s.stored.Tail
	}
	prefix := s.position(m, 0)
	prefix = prefix[:len(prefix)-1]
	for seq := from + 1; seq <= last; seq++ {
		msg, err := s.client.GetMsg(ctx, s.stream, natsconn.MsgGet{Seq: seq, NextBySubject: s.dataSubject()})
		if err != nil {
			return 0, 0, err //nolint:wrapcheck // coded
		}
		if msg == nil || msg.Seq > last {
			break
		}
		seq = msg.Seq
		header, err := nats.DecodeHeadersMsg(msg.Header)
		if err != nil {
			continue // not ours
		}
		if text, ours := strings.CutPrefix(header.Get(headerPos), prefix); ours {
			if i, err := strconv.Atoi(text); err == nil && i < n {
				done = max(done, i+1)
			}
		}
	}
	return done, last, nil
}

// dataSubject matches the messages that hold rows.
func (s *sink) dataSubject() string {
	if s.template.dynamic() {
		return s.template.prefix + ".>"
	}
	return s.template.prefix
}

// position names message i of a batch. It is the message id too: the same place of another attempt at the
// same Intent.
func (s *sink) position(m marker, i int) string {
	return fmt.Sprintf("%s/%d/%08x/%d", m.Query, m.Batch, m.IntentCRC, i)
}

// errBroken says that a window was not stored whole.
var errBroken = errors.New("the stream did not take the messages one behind the other")

// place is where a window begins: in the batch, and behind which sequence of the stream.
type place struct {
	index int
	last  uint64
}

// sendWindow publishes messages and awaits their acknowledgements. It returns how many were stored, all of
// them unless there is an error.
func (s *sink) sendWindow(ctx context.Context, m marker, window []message, at place) (int, error) {
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return 0, err //nolint:wrapcheck // coded
	}
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return 0, s.client.Silent(conn, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i, one := range window {
		msg := one.msg()
		msg.Reply = inbox
		pos := s.position(m, at.index+i)
		msg.Header[headerStream] = []string{s.stream}
		msg.Header[headerPos], msg.Header[headerMsgID] = []string{pos}, []string{pos}
		msg.Header[headerLast] = []string{strconv.FormatUint(at.last+uint64(i), 10)} //nolint:gosec // not negative
		if i > 0 {                                                                   // else a new owner's marker in the place of one message would let all that follow it in
			msg.Header[headerLastID] = []string{s.position(m, at.index+i-1)}
		}
		if err := conn.PublishMsg(msg); err != nil {
			return 0, fmt.Errorf("%w: %w", errBroken, s.client.Silent(conn, err))
		}
	}
	limited, cancel := s.client.Answering(ctx, s.client.Timeout())
	defer cancel()
	for i := range window {
		answer, err := sub.NextMsgWithContext(limited)
		if ctx.Err() != nil {
			return i, fmt.Errorf("await acknowledgement: %w", context.Cause(ctx))
		}
		if err != nil {
			return i, fmt.Errorf("%w: %w", errBroken, s.client.Silent(conn, err))
		}
		if answer.Header.Get("Status") == "503" {
			return i, fmt.Errorf("%w: %w", errBroken, s.client.Silent(conn, nats.ErrNoResponders))
		}
		ack, err := decodeAck(answer.Data)
		switch {
		case natsconn.IsAPI(err, natsconn.ErrWrongLastSeq, natsconn.ErrWrongLastSeqAny, natsconn.ErrWrongLastMsgID):
			return i, diagShared(s, err)
		case err != nil:
			return i, err
		case ack.Seq != at.last+uint64(i)+1: //nolint:gosec // not negative
			return i, diagShared(s, fmt.Errorf("message stored at %d", ack.Seq))
		}
	}
	return len(window), nil
}

// diagShared says that another writer seems to be at work; the sink tries again before a user sees it.
func diagShared(s *sink, err error) error {
	e := diag.New(diag.SinkFailed, "sink %q: somebody else writes to stream %q: %s", s.cfg.Name, s.stream, err).
		WithHint("let the stream have allow_atomic (server from 2.12), or keep other writers off it")
	e.Err = errors.Join(errBroken, err)
	return e
}
