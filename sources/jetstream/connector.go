package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// Connector returns the jetstream source connector, which reaches servers by dial; nil is over the network.
func Connector(dial natsconn.Dial) stream.SourceConnector {
	fields := []stream.Field{
		{Name: "stream", Type: stream.String, Required: true, Fixed: true, Summary: "Name of the stream."},
		{Name: "subject", Type: stream.List, Fixed: true,
			Summary: "Read only messages whose subject matches one of these. Gaps can not be noticed then."},
		{Name: "start", Type: stream.String, Numbers: true, Default: "earliest",
			Summary: "Where a new query begins: earliest, latest, a sequence number, or a time such as " +
				"2026-01-01T00:00:00Z."},
		{Name: "history_time", Type: stream.Enum, Values: []string{"event", "published"}, Default: "event",
			Summary: "What --from, --to and slots mean for this source: the event time of its rows, so that all of " +
				"it is read, or the time at which the server stored them, so that only that stretch is read."},
		{Name: "compression", Type: stream.Enum, Values: []string{"none", "auto"}, Fixed: true,
			Summary: "auto decompresses payloads that are LZ4 frames, Zstandard frames or gzip, which their first bytes tell, " +
				"and takes others as they are. One that is damaged, or has more than 64 MiB then, is a dead letter, " +
				"as are those of a batch beyond 1,920 MiB. max_bytes_per_batch counts bytes as they lie in the stream. Default none."},
	}
	return stream.SourceConnector{
		Spec: stream.Spec{
			Name:    "jetstream",
			Summary: "Reads a NATS JetStream stream.",
			Guarantee: "Replays any range exactly for as long as the stream keeps it; a lost, purged or replaced " +
				"range is noticed, except that gaps inside a filtered read are not. What work-queue and interest streams " +
				"give (server from 2.14) is spooled, and acknowledged only up to the newest state version.",
			Fields: append(fields, stream.NATSFields()...),
			Example: "CREATE SOURCE orders (id BIGINT, country VARCHAR, amount DOUBLE, ts TIMESTAMP,\n" +
				"  WATERMARK FOR ts AS ts - INTERVAL '10 seconds')\n" +
				"WITH (connector = 'jetstream', stream = 'ORDERS', format = 'json')",
		},
		Open: func(_ context.Context, cfg stream.SourceConfig) (stream.Source, error) { return open(cfg, dial) },
	}
}

// start is where a new query begins.
type start struct {
	word     string // earliest, latest, or ""
	sequence uint64 // 0: none
	at       time.Time
}

func parseStart(name, text string) (start, error) {
	switch lower := strings.ToLower(text); lower {
	case "":
		return start{word: "earliest"}, nil
	case "earliest", "latest":
		return start{word: lower}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		return start{sequence: n}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return start{at: at.UTC()}, nil
		}
	}
	return start{}, diag.New(diag.BadOption, "start of source %q is %q", name, text).OfOption("start").
		WithHint("write earliest, latest, a sequence number from 1, or a time such as 2026-01-01T00:00:00Z")
}

func open(cfg stream.SourceConfig, dial natsconn.Dial) (stream.Source, error) {
	name := cfg.Options.String("stream")
	if !natsconn.ValidStream(name) {
		return nil, diag.New(diag.BadOption, "stream of source %q is %q, which can not be a stream's name",
			cfg.Name, name).OfOption("stream").
			WithHint("a stream's name has no spaces, dots, slashes, * or >")
	}
	filters := cfg.Options.List("subject")
	for _, f := range filters {
		if !natsconn.ValidSubject(f) {
			return nil, diag.New(diag.BadOption, "subject %q of source %q is not a subject", f, cfg.Name).OfOption("subject").
				WithHint("tokens with dots between them; * stands for one token, > at the end for all that follow")
		}
	}
	if len(filters) == 1 && filters[0] == ">" {
		filters = nil
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	begin, err := parseStart(cfg.Name, cfg.Options.String("start"))
	if err != nil {
		return nil, err
	}
	s := &source{cfg: cfg, stream: name, filters: filters, begin: begin, want: wanted(cfg.Columns)}
	s.skip = cfg.Options.Has("on_data_loss") && cfg.Options.String("on_data_loss") == "skip"
	s.feed = newFeed(name, filters, s.want)
	s.client, err = natsconn.New(natsconn.Config{
		What: fmt.Sprintf("source %q", cfg.Name), Code: diag.SourceUnreachable, Options: cfg.Options, Log: cfg.Log,
		Lost: s.feed.lost, Dial: dial,
	})
	if err != nil {
		return nil, err
	}
	s.feed.client = s.client
	return s, nil
}

// want says which things beside payload and sequence the declared columns need.
type want struct {
	subject, published, headers bool
}

func wanted(columns []stream.Column) want {
	var w want
	for _, c := range columns {
		if !c.Metadata {
			continue
		}
		switch c.Name {
		case "subject":
			w.subject = true
		case "published_at":
			w.published = true
		case "headers":
			w.headers = true
		}
	}
	return w
}
