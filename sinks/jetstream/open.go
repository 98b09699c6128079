package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

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
	if err := s.writeMarker(ctx, m); err != nil {
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
