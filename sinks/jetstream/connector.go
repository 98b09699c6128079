package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tidemill/tidemill/internal/compression"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// Connector returns the jetstream sink connector, which reaches servers by dial; nil is over the network.
func Connector(dial natsconn.Dial) stream.SinkConnector {
	fields := []stream.Field{
		{Name: "stream", Type: stream.String, Fixed: true,
			Summary: "Name of the stream. Default: the stream that takes the subject's messages."},
		{Name: "subject", Type: stream.String, Fixed: true,
			Summary: "Subject of the messages; {column} stands for a row's value, as in 'out.{country}'. " +
				"Default: the stream's name in lower case, in update mode with payload json followed by the key."},
		{Name: "payload", Type: stream.Enum, Values: []string{"json", "ndjson", "arrow"},
			Summary: "One JSON object per message, JSON lines, or an Arrow IPC stream. Default ndjson, in update" +
				" mode json; there ndjson writes the changes of many keys as lines of one message, each with" +
				" \"__op\" where rows can go away. In JSON, NaN and the infinities are null."},
		{Name: "rows_per_message", Type: stream.Int, Default: "1000", Min: 1, Max: 1_000_000,
			Summary: "Most rows in one message of ndjson or arrow. Large rows make it fewer."},
		{Name: "compression", Type: stream.Enum, Values: append([]string{"none"}, compression.Algorithms()...), Default: "none",
			Summary: "How each message of ndjson or arrow is compressed: an LZ4 frame, a Zstandard frame or gzip, which a jetstream " +
				"source with compression = 'auto' reads."},
		{Name: "create", Type: stream.Bool, Default: "true",
			Summary: "Whether to create the stream if it is missing."},
		{Name: "replicas", Type: stream.Int, Default: "1", Min: 1, Max: 5,
			Summary: "Replicas of a stream that is created."},
	}
	return stream.SinkConnector{
		Spec: stream.Spec{
			Name:    "jetstream",
			Summary: "Writes to a NATS JetStream stream.",
			Guarantee: "Exactly once: a batch and its marker are one atomic batch of up to 999 messages (9,999 if the server " +
				"takes as many), larger ones are staged and sent in such steps. Without atomic batches (server before 2.12, or a stream without " +
				"allow_atomic) readers may see half a batch and the stream must have no other writer.",
			Fields:  append(fields, stream.NATSFields()...),
			Example: "CREATE SINK big_orders WITH (connector = 'jetstream', stream = 'BIG', subject = 'big.{country}')",
		},
		Modes: []stream.Mode{stream.Append, stream.Update},
		Open:  func(_ context.Context, cfg stream.SinkConfig) (stream.Sink, error) { return open(cfg, dial) },
	}
}

func open(cfg stream.SinkConfig, dial natsconn.Dial) (stream.Sink, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	name := cfg.Options.String("stream")
	if name != "" && !natsconn.ValidStream(name) {
		return nil, diag.New(diag.BadOption, "stream of sink %q is %q, which can not be a stream's name", cfg.Name,
			name).OfOption("stream").
			WithHint("a stream's name has no spaces, dots, slashes, * or >")
	}
	text := cfg.Options.String("subject")
	if text == "" {
		text = strings.ToLower(name)
	}
	if text == "" {
		return nil, diag.New(diag.MissingOption, "sink %q has neither stream nor subject",
			cfg.Name).WithHint("set stream")
	}
	s := &sink{cfg: cfg, stream: name, payload: cfg.Options.String("payload")}
	if err := s.choosePayload(); err != nil {
		return nil, err
	}
	if err := s.chooseCompression(); err != nil {
		return nil, err
	}
	var err error
	if s.template, err = parseTemplate(cfg, text, s.payload == "json"); err != nil {
		return nil, err
	}
	if s.payload == "arrow" && s.template.dynamic() {
		return nil, diag.New(diag.BadOption,
			"sink %q: payload arrow needs one subject for all rows, but subject has a {column}",
			s.cfg.Name).OfOption("payload").WithHint("use payload = 'ndjson', or a subject without columns")
	}
	s.client, err = natsconn.New(natsconn.Config{
		What: fmt.Sprintf("sink %q", cfg.Name), Code: diag.SinkUnreachable, Options: cfg.Options, Log: cfg.Log,
		Dial: dial,
	})
	return s, err
}

// choosePayload fills in the default and refuses what does not go together.
func (s *sink) choosePayload() error {
	update := s.cfg.Mode == stream.Update
	switch {
	case s.payload == "" && update:
		s.payload = "json"
	case s.payload == "":
		s.payload = "ndjson"
	case update && s.payload == "arrow":
		return diag.New(diag.BadOption, "sink %q: update mode writes json or ndjson, not arrow", s.cfg.Name).
			OfOption("payload").WithHint("use payload = 'ndjson' to pack the changes of many keys into a message")
	}
	return nil
}

// chooseCompression refuses to compress messages of one row, which would only grow.
func (s *sink) chooseCompression() error {
	algorithm := s.cfg.Options.String("compression")
	if algorithm == "" || algorithm == "none" {
		return nil
	}
	if s.payload == "json" {
		return diag.New(diag.BadOption, "sink %q: messages of one JSON object are not compressed", s.cfg.Name).
			OfOption("compression").WithHint("use payload = 'ndjson' or 'arrow', or compression = 'none'")
	}
	var err error
	s.compress, err = compression.NewCompressor(algorithm)
	return err //nolint:wrapcheck // the Spec lists the same names
}
