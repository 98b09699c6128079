package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// natsFlags say how to reach a server, in the words of the connectors' options.
type natsFlags struct {
	url         string
	credentials string
	user        string
	password    string
	token       string
}

func (f *natsFlags) flags(c *cobra.Command, e *env) {
	url := nats.DefaultURL
	if v, ok := e.getenv("NATS_URL"); ok && v != "" {
		url = v
	}
	c.Flags().StringVar(&f.url, "url", url, "address of the NATS server (or NATS_URL)")
	c.Flags().Lookup("url").DefValue = diag.Redact(url) // help prints it
	c.Flags().StringVar(&f.credentials, "credentials", "", "path of a .creds file")
	c.Flags().StringVar(&f.user, "user", "", "user name")
	c.Flags().StringVar(&f.password, "password", "", "password of the user: env:NAME or file:PATH")
	c.Flags().StringVar(&f.token, "token", "", "authentication token: env:NAME or file:PATH")
}

// options are the flags as the connectors' options, secrets looked up.
func (f natsFlags) options(e *env) (stream.Options, error) {
	o := stream.Options{"url": f.url, "connect_timeout": 5 * time.Second}
	for name, v := range map[string]string{"credentials": f.credentials, "user": f.user} {
		if v != "" {
			o[name] = v
		}
	}
	for name, ref := range map[string]string{"password": f.password, "token": f.token} {
		if ref == "" {
			continue
		}
		value, err := e.secret(name, ref)
		if err != nil {
			return nil, err
		}
		o[name] = stream.NewSecret(ref, value)
	}
	return o, nil
}

// secret looks up env:NAME or file:PATH. Written-out secrets are refused: other users can see a command line.
func (e *env) secret(flag, ref string) (string, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if v, found := e.getenv(name); found {
			return v, nil
		}
		return "", diag.New(diag.SecretUnavailable, "--%s: the environment variable %s is not set", flag,
			name)
	}
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", diag.New(diag.SecretUnavailable, "--%s: the file %s can not be read", flag, path)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", diag.New(diag.Usage, "--%s is written out", flag).
		WithHint("write env:NAME or file:PATH, so that it stays secret")
}

// connect connects to the server of the flags. The caller closes the client.
func (e *env) connect(ctx context.Context, what string, f natsFlags) (*natsconn.Client, *nats.Conn, error) {
	o, err := f.options(e)
	if err != nil {
		return nil, nil, err
	}
	client, err := natsconn.New(natsconn.Config{What: what, Code: diag.SinkUnreachable, Options: o})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // coded
	}
	conn, err := client.Conn(ctx)
	if err != nil {
		client.Close()
		return nil, nil, err //nolint:wrapcheck // coded
	}
	return client, conn, nil
}

// openSender opens a file or a subject for payloads.
func (e *env) openSender(ctx context.Context, to string, f natsFlags) (sender, error) {
	if isFile(to) {
		file, err := os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, diag.New(diag.Usage, "%q can not be written: %s", to, reasonOf(err))
		}
		return &fileSender{file: file, out: bufio.NewWriterSize(file, 256<<10)}, nil
	}
	if !natsconn.ValidSubject(to) || strings.ContainsAny(to, "*>") {
		return nil, diag.New(diag.Usage, "%q is not a subject that one can publish to", to).
			WithHint("tokens with dots between them, without * and >; a file has a slash, such as ./out.ndjson")
	}
	client, conn, err := e.connect(ctx, "tidemill", f)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("prepare JetStream: %w", err)
	}
	return &subjectSender{client: client, js: js, subject: to}, nil
}

// isFile tells a path from a subject.
func isFile(to string) bool {
	if strings.ContainsAny(to, `/\`) {
		return true
	}
	for _, suffix := range []string{".ndjson", ".jsonl", ".json", ".txt"} {
		if strings.HasSuffix(to, suffix) {
			return true
		}
	}
	return false
}

// fileSender appends one payload a line.
type fileSender struct {
	file *os.File
	out  *bufio.Writer
}

func (s *fileSender) send(ctx context.Context, _ string, payload []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, err := s.out.Write(payload)
	if err == nil && (len(payload) == 0 || payload[len(payload)-1] != '\n') {
		err = s.out.WriteByte('\n')
	}
	return s.fault(err)
}

func (s *fileSender) flush(context.Context) error {
	err := s.out.Flush()
	if err == nil {
		err = s.file.Sync()
	}
	if errors.Is(err, errors.ErrUnsupported) || err != nil && !regular(s.file) {
		err = nil // a pipe or a terminal has nothing to sync
	}
	return s.fault(err)
}

func regular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

func (s *fileSender) fault(err error) error {
	if err != nil {
		return fmt.Errorf("write %s: %w", s.file.Name(), err)
	}
	return nil
}

func (s *fileSender) refusing(func(string, error)) {}

func (s *fileSender) duplicates() int64 { return 0 }

func (s *fileSender) close() error { return s.fault(s.file.Close()) }

// subjectSender publishes to JetStream and waits for the stream's acknowledgements in flush.
type subjectSender struct {
	client  *natsconn.Client
	js      jetstream.JetStream
	subject string
	pending []published
	bytes   int                          // of pending
	broken  error                        // why a message was not stored; flush says so from then on
	there   int64                        // messages that the stream had under their ids already
	refused func(id string, fault error) // nil: it is a fault like any other
}

// published is a message that may not be stored yet.
type published struct {
	id  string
	ack jetstream.PubAckFuture
}

// pendingMax is how many messages are sent before they are known to be stored; their bytes are natsconn.UnstoredBytes at most.
const pendingMax = 2048

func (s *subjectSender) refusing(tell func(id string, fault error)) { s.refused = tell }

func (s *subjectSender) send(ctx context.Context, id string, payload []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	f, err := s.js.PublishAsync(s.subject, payload, jetstream.WithMsgID(id))
	if err != nil {
		return s.failed(id, err)
	}
	s.pending = append(s.pending, published{id, f})
	if s.bytes += len(payload); len(s.pending) >= pendingMax || s.bytes >= natsconn.UnstoredBytes {
		return s.flush(ctx)
	}
	return nil
}

// flush asks each message for its answer once: after an interrupt it goes on where it was.
func (s *subjectSender) flush(ctx context.Context) error {
	if s.broken != nil {
		return s.broken
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	told := 0 // of pending
	defer func() { s.pending = slices.Delete(s.pending, 0, told) }()
	for _, p := range s.pending {
		select {
		case ack := <-p.ack.Ok():
			if ack.Duplicate {
				s.there++
			}
		case err := <-p.ack.Err():
			s.broken = s.failed(p.id, err)
		case <-ctx.Done():
			return s.fault(context.Cause(ctx))
		}
		if told++; s.broken != nil {
			return s.broken
		}
	}
	s.bytes = 0
	return nil
}

// failed tells of a message that is too large, if somebody wants to know, and returns any other fault.
func (s *subjectSender) failed(id string, err error) error {
	tooLarge := errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum)
	if tooLarge && s.refused != nil {
		s.refused(id, s.fault(err))
		return nil
	}
	return s.fault(err)
}

func (s *subjectSender) fault(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return diag.New(diag.SinkFailed, "no stream takes messages on %q at %s", s.subject,
			s.client.Address()).
			WithHint("create one (nats stream add), or name another subject")
	case errors.Is(err, nats.ErrMaxPayload):
		return diag.New(diag.SinkFailed, "a message is larger than the server at %s takes",
			s.client.Address()).
			WithHint("raise max_payload of the server, or send fewer rows in one message")
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return diag.New(diag.SinkFailed, "a message is larger than the stream of %q at %s takes", s.subject, s.client.Address()).
			WithHint("raise max_msg_size of the stream, or send fewer rows in one message")
	}
	return diag.Wrap(diag.SinkFailed, err, "publish to %q at %s", s.subject, s.client.Address())
}

func (s *subjectSender) duplicates() int64 { return s.there }

func (s *subjectSender) close() error {
	s.client.Close()
	return nil
}
