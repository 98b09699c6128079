package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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
	Here     int    `json:"here,omitempty"` // messages of the batch that follow in the same atomic step
	From     uint64 `json:"from,omitempty"` // written by Open: an older owner's singles may lie between this sequence and the marker
	Tail     uint64 `json:"tail,omitempty"` // without atomic batches: an unfinished batch can only lie after this sequence
}

// sink implements stream.Sink.
type sink struct {
	cfg      stream.SinkConfig
	client   *natsconn.Client
	stream   string
	template template
	payload  string

	owner   stream.Owner
	subject string  // of the marker
	atomic  bool    // the stream takes atomic batches
	stored  *marker // as far as we know
	seq     uint64  // of the newest marker message; 0: none
	chain   chain
	unknown bool // the outcome of the last write is not known: read the marker before the next
	checked bool // without atomic batches: the tail of the stream holds nothing of an unfinished batch
}

// Open implements stream.Sink.
func (s *sink) Open(ctx context.Context, o stream.Owner) error {
	s.owner = o
	s.subject = string(escapeToken([]byte(s.template.prefix+"._c."), o.Name))
	s.subject = string(escapeToken([]byte(s.subject+"."), s.cfg.Name))
	info, err := s.ensureStream(ctx)
	if err != nil {
		return err
	}
	if err := s.checkStream(info); err != nil {
		return err
	}
	const tries = 5 // others may write the marker between our read and our write
	for range tries {
		err = s.takeOver(ctx)
		if !errors.Is(err, errLateSingle) &&
			!natsconn.IsAPI(err, natsconn.ErrWrongLastSeq, natsconn.ErrWrongLastSeqAny) {
			break
		}
	}
	return s.fault(err)
}

// Locate implements stream.Located. A stream that Open is to make is nowhere yet.
func (s *sink) Locate(ctx context.Context) (stream.Location, error) {
	name := s.stream
	if name == "" {
		var err error
		if name, err = s.client.StreamOf(ctx, string(s.template.render(nil, nil, 0))); err != nil || name == "" {
			return stream.Location{}, s.fault(err)
		}
	}
	info, err := s.client.StreamInfo(ctx, name, false)
	if natsconn.IsAPI(err, natsconn.ErrStreamNotFound) {
		return stream.Location{}, nil
	}
	if err != nil {
		return stream.Location{}, s.fault(err)
	}
	return stream.Location{ID: info.Place(), Name: fmt.Sprintf("stream %q", name),
		Subjects: []string{s.template.pattern()}}, nil
}

// takeOver reads the marker, checks it and writes it again under our epoch.
func (s *sink) takeOver(ctx context.Context) error {
	found, seq, err := s.readState(ctx)
	if err != nil {
		return err
	}
	var base *stream.Marker
	if found != nil {
		base = &found.Marker
	}
	if err := s.owner.Accept(s.cfg.Name, base); err != nil {
		return err //nolint:wrapcheck // coded
	}
	m := marker{Marker: s.owner.Adopt(base)}
	if found != nil && sameBatch(found.Marker, m.Marker) {
		m.Messages, m.Done, m.CRC, m.Tail = found.Messages, found.Done, found.CRC, found.Tail
	}
	if !s.atomic && m.Tail == 0 {
		m.Tail = seq
	}
	s.stored, s.seq, s.checked = found, seq, false
	before := s.chain.end
	m.From = before
	if err := s.commit(ctx, m, nil); err != nil {
		return err
	}
	if before == 0 { // there was no marker, so nobody who could have written behind it
		return nil
	}
	late, err := s.follow(ctx, before)
	if err == nil && late.newest != nil {
		err = errLateSingle
	}
	return err
}

// errLateSingle says that an older owner wrote between our look and our marker. It can not do so again.
var errLateSingle = errors.New("a message of an older owner came in between")

// ensureStream returns the stream, made if it is missing and that is wanted.
func (s *sink) ensureStream(ctx context.Context) (*natsconn.StreamInfo, error) {
	if s.stream == "" {
		name, err := s.client.StreamOf(ctx, string(s.template.render(nil, nil, 0)))
		if err != nil {
			return nil, s.fault(err)
		}
		if s.stream = name; name == "" {
			s.stream = strings.ToUpper(strings.ReplaceAll(s.template.prefix, ".", "_"))
		}
	}
	info, err := s.client.StreamInfo(ctx, s.stream, false)
	if !natsconn.IsAPI(err, natsconn.ErrStreamNotFound) {
		return info, s.fault(err)
	}
	if s.cfg.Options.Has("create") && !s.cfg.Options.Bool("create") {
		return nil, s.client.Missing(s.stream)
	}
	request := natsconn.StreamConfig{
		Name: s.stream, Subjects: []string{s.template.prefix, s.template.prefix + ".>"}, Retention: "limits",
		Storage:  "file",
		Replicas: max(1, int(s.cfg.Options.Int("replicas"))), MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1,
		AllowAtomic: true,
	}
	err = s.client.API(ctx, "STREAM.CREATE."+s.stream, request, nil)
	if err != nil && !natsconn.IsAPI(err, natsconn.ErrStreamNameInUse) {
		return nil, s.fault(fmt.Errorf("create stream: %w", err))
	}
	s.cfg.Log.Info("stream created", "stream", s.stream, "subjects", request.Subjects)
	info, err = s.client.StreamInfo(ctx, s.stream, false)
	return info, s.fault(err)
}

// checkStream refuses a stream that does not take our subjects, and warns of what weakens the promise.
func (s *sink) checkStream(info *natsconn.StreamInfo) error {
	c := info.Config
	for _, subject := range []string{string(s.template.render(nil, nil, 0)), s.subject} {
		if !natsconn.CoversAny(c.Subjects, subject) {
			return diag.New(diag.BadOption, "sink %q: stream %q does not take messages of subject %q", s.cfg.Name,
				s.stream, subject).
				WithNote("its subjects are %s", strings.Join(c.Subjects, ", ")).
				WithHint("add %s.> to the stream's subjects (nats stream edit %s --subjects ...), or change subject",
					s.template.prefix, s.stream)
		}
	}
	s.chain.fits = fitsSingles(c)
	if s.atomic = c.AllowAtomic; !s.atomic {
		s.cfg.Log.Warn("the stream takes no atomic batches: writing is slower, readers may see half a batch, and nobody "+
			"else may write to the stream; let it have allow_atomic on a server from 2.12", "stream", s.stream)
	}
	keeps := c.Retention == "" || c.Retention == "limits"
	if c.MaxAge > 0 || c.MaxMsgs > 0 || c.MaxBytes > 0 || !keeps {
		s.cfg.Log.Warn("the stream's limits or retention may drop the sink's marker, and then the query can not go on "+
			"after a restart without --take-over", "stream", s.stream)
	}
	return nil
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
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	messages, whole, err := s.messages(ctx, d, int(conn.MaxPayload()))
	if err != nil {
		return err
	}
	m := marker{Marker: d.Marker, Messages: len(messages), CRC: checksum(messages)}
	m.Epoch, m.Life = s.owner.Epoch, s.owner.Life
	if !s.atomic {
		return s.fault(s.writePlain(ctx, m, messages))
	}
	if whole {
		m.Done = len(messages)
		if len(messages) == 1 && s.chain.fits {
			if written, err := s.writeSingle(ctx, m, messages[0]); written || err != nil {
				return s.fault(err)
			}
		}
		return s.fault(s.settle(ctx, m, messages))
	}
	done := 0
	if s.holds(d) {
		done = s.stored.Done
	}
	for done < len(messages) {
		next := done + chunk(messages[done:])
		m.Done = next
		if err := s.settle(ctx, m, messages[done:next]); err != nil {
			return s.fault(err)
		}
		done = next
	}
	return nil
}

// holds reports whether the stored marker is of d's batch, perhaps of a part of it.
func (s *sink) holds(d stream.Delivery) bool {
	return s.stored != nil && d.Already(&s.stored.Marker)
}

// Sizes of one atomic batch: the server takes 1000 messages, one of them is the marker, and keeps at most 128
// MiB in flight per stream.
const (
	chunkMessages = 999
	chunkBytes    = 32 << 20
)

// chunk returns how many of messages one atomic batch takes, at least one.
func chunk(messages []message) int {
	n, bytes := 0, 0
	for n < len(messages) && n < chunkMessages {
		bytes += len(messages[n].subject) + len(messages[n].body)
		if bytes > chunkBytes && n > 0 {
			break
		}
		n++
	}
	return n
}

// messages returns what d is made of: the staged bytes if there are any, else the encoded result, which is
// staged first unless it goes in whole as one atomic batch.
func (s *sink) messages(
	ctx context.Context, d stream.Delivery, maxPayload int,
) (_ []message, whole bool, err error) {
	var staged []byte
	if s.cfg.Stage != nil {
		if staged, err = s.cfg.Stage.Staged(ctx, d.Marker.Batch, s.cfg.Name); err != nil {
			return nil, false, fmt.Errorf("read staged result: %w", err)
		}
	}
	if staged != nil {
		messages, ok := unpickle(staged)
		if !ok {
			return nil, false, diag.New(diag.StateCorrupt, "sink %q: the staged result of batch %d is damaged",
				s.cfg.Name, d.Marker.Batch)
		}
		return messages, false, nil
	}
	if s.holds(d) { // a part was sent, and what the rest was is not known any more
		return nil, false, diag.New(diag.SinkMismatch,
			"sink %q holds %d of %d messages of batch %d, but the staged result is gone",
			s.cfg.Name, s.stored.Done, s.stored.Messages, d.Marker.Batch).WithHint("restore the data dir")
	}
	messages, err := s.encode(d.Result, maxPayload)
	if err != nil {
		return nil, false, err
	}
	if s.atomic && chunk(messages) == len(messages) {
		return messages, true, nil
	}
	if s.cfg.Stage == nil {
		return nil, false, diag.New(diag.SinkFailed,
			"sink %q: batch %d needs %d messages, more than one step takes, and nothing can be staged",
			s.cfg.Name, d.Marker.Batch, len(messages)).WithHint("use payload = 'ndjson', or a smaller batch")
	}
	if err := s.cfg.Stage.Stage(ctx, d.Marker.Batch, s.cfg.Name, pickle(messages)); err != nil {
		return nil, false, fmt.Errorf("stage result: %w", err)
	}
	return messages, false, nil
}

// settle commits messages with a marker and finds out what became of it.
func (s *sink) settle(ctx context.Context, m marker, messages []message) error {
	const tries = 3
	var err error
	for range tries {
		err = s.commit(ctx, m, messages)
		if err == nil || !natsconn.IsAPI(err, natsconn.ErrWrongLastSeq, natsconn.ErrWrongLastSeqAny) && !s.unknown {
			return err
		}
		// Either somebody was faster, perhaps our own earlier attempt, or the answer was lost.
		if again := s.lookAgain(ctx); again != nil {
			return errors.Join(err, again)
		}
		if s.stored != nil && sameBatch(s.stored.Marker, m.Marker) && s.stored.Done == m.Done {
			return nil
		}
	}
	return err
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

func sameBatch(a, b stream.Marker) bool {
	return a.Query == b.Query && a.Batch == b.Batch && a.IntentCRC == b.IntentCRC
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
