package engine

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// deadOutputName is what the log calls the JetStream sink of a source's dead letters. A user's sink can not have it.
func deadOutputName(source string) string { return "dead_letters:" + source }

// connectDeadOutputs makes a JetStream sink for every source with a dead_letter_subject. It is a sink like any other,
// with a marker of its own, so dead letters are there exactly once too.
func (q *Query) connectDeadOutputs(ctx context.Context, dir string, stage stream.Stager) error {
	for _, in := range q.inputs {
		if in.def.Options.String("dead_letter_subject") == "" {
			continue
		}
		name := deadOutputName(in.def.Name)
		sink, err := connectDead(ctx, q.opt, q.app, in.def, filepath.Join(dir, "sinks", name), stage)
		if err != nil {
			return err
		}
		in.dead = &output{name: name, sink: sink}
		if err := q.checkFed(ctx, sink, q.readsLetters(in.def)); err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) openDeadOutputs(ctx context.Context, r *checkpoint.Recovery) error {
	for _, in := range q.inputs {
		if in.dead == nil {
			continue
		}
		if err := in.dead.sink.Open(ctx, q.owner(in.dead.name, r)); err != nil {
			return fmt.Errorf("open the dead letter subject of source %q: %w", in.def.Name, err)
		}
	}
	return nil
}

// connectDead makes the sink of a source's dead letters, which touches nothing before its Open.
func connectDead(ctx context.Context, opt Options, app *planner.App, s *planner.Source, dir string, stage stream.Stager) (
	stream.Sink, error) {
	connector, ok := opt.Registry.Sinks["jetstream"]
	if !ok {
		return nil, diag.New(diag.UnknownConnector, "source %q has a dead_letter_subject, but this build has no jetstream sink",
			s.Name)
	}
	options, err := deadOptions(connector.Spec, s, s.Options.String("dead_letter_subject"))
	if err != nil {
		return nil, err
	}
	name := deadOutputName(s.Name)
	sink, err := connector.Open(ctx, stream.SinkConfig{Name: name, Options: options, Schema: letterSchema(),
		Mode: stream.Append, Clock: opt.Clock, FS: opt.FS, Dir: dir, Log: opt.Log.With("sink", name), Stage: stage})
	if err != nil {
		for _, e := range diag.All(err) {
			if e.Option == "subject" {
				e.OfOption("dead_letter_subject").WithHint("write tokens with dots between them, without spaces, * and >")
			}
		}
		return nil, fmt.Errorf("open the dead letter subject of source %q: %w", s.Name,
			placedIn(err, app.Text, s.Span, s.OptionAt, nil))
	}
	return sink, nil
}

// checkDead checks where a source's dead letters are to go, if they are published.
func checkDead(ctx context.Context, opt Options, app *planner.App, s *planner.Source) error {
	if s.Options.String("dead_letter_subject") == "" {
		return nil
	}
	sink, err := connectDead(ctx, opt, app, s, "", nil)
	if err != nil {
		return err
	}
	return sink.Close() //nolint:wrapcheck // nothing was opened
}

// deadOptions are the sink's defaults, with the source's connection if it is a JetStream source too.
func deadOptions(spec stream.Spec, source *planner.Source, subject string) (stream.Options, error) {
	options := stream.Options{}
	for _, f := range spec.Fields {
		if v, ok := source.Options[f.Name]; ok && source.Connector == "jetstream" && connects(f.Name) {
			options[f.Name] = v
			continue
		}
		if f.Default == "" {
			continue
		}
		v, err := sqlfront.Value(f, f.Default)
		if err != nil {
			return nil, fmt.Errorf("default of option %q: %w", f.Name, err)
		}
		options[f.Name] = v
	}
	options["subject"], options["payload"] = subject, "json"
	return options, nil
}

// connects reports that an option says how to reach a server rather than what to do there.
func connects(name string) bool {
	switch name {
	case "stream", "subject", "payload", "rows_per_message", "create", "replicas", "start":
		return false
	}
	return true
}

func letterSchema() *arrow.Schema {
	text := arrow.BinaryTypes.String
	return arrow.NewSchema([]arrow.Field{
		{Name: "source", Type: text}, {Name: "batch", Type: arrow.PrimitiveTypes.Int64},
		{Name: "sequence", Type: arrow.PrimitiveTypes.Uint64}, {Name: "index", Type: arrow.PrimitiveTypes.Int64},
		{Name: "kind", Type: text}, {Name: "reason", Type: text}, {Name: "subject", Type: text, Nullable: true},
		{Name: "payload", Type: text, Nullable: true}, {Name: "payload_base64", Type: text, Nullable: true},
		{Name: "row", Type: text, Nullable: true},
	}, nil)
}

// deliverDead hands the letters of each source to its subject. all is sorted by source.
func (q *Query) deliverDead(ctx context.Context, w *work, all []letters.Letter) error {
	for _, in := range q.inputs {
		if in.dead == nil {
			continue
		}
		rec := letterRecord(all, in.def.Name)
		if rec.NumRows() == 0 {
			rec.Release()
			continue
		}
		d := stream.Delivery{Marker: q.marker(w.intent), Mode: stream.Append,
			Result: stream.Batch{Schema: rec.Schema(), Records: []arrow.Record{rec}}}
		err := q.retry(ctx, w.intent.Batch, func() error { return in.dead.sink.Write(ctx, d) })
		rec.Release()
		if err != nil {
			return fmt.Errorf("publish dead letters of batch %d of source %q: %w", w.intent.Batch, in.def.Name, err)
		}
		q.ledger.delivered[in.dead.name] = d.Marker
	}
	return nil
}

// publishedBytes is how much of a payload, and of a row, a published letter carries: escaped as JSON both fit a message
// of a server's default size whatever the bytes are.
const publishedBytes = 64 << 10

// published is a letter as it is published: what is too long is left out, and the reason says so. The letter on disk has
// it all.
func published(l letters.Letter) letters.Letter {
	var out []string
	if n := len(l.Payload); n > publishedBytes {
		l.Payload = nil
		out = append(out, fmt.Sprintf("the payload of %d bytes", n))
	}
	if n := len(l.Row); n > publishedBytes {
		l.Row = nil
		out = append(out, fmt.Sprintf("the row of %d bytes", n))
	}
	if len(out) > 0 {
		l.Reason += fmt.Sprintf(" (%s is in dead_letters alone)", strings.Join(out, " and "))
	}
	return l
}

func letterRecord(all []letters.Letter, source string) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, letterSchema())
	defer b.Release()
	text := func(i int, s string, there bool) {
		if f := b.Field(i).(*array.StringBuilder); there { //nolint:forcetypeassert // letterSchema says so
			f.Append(s)
		} else {
			f.AppendNull()
		}
	}
	for _, l := range all {
		if l.Source != source {
			continue
		}
		l = published(l)
		plain := utf8.Valid(l.Payload)
		text(0, l.Source, true)
		b.Field(1).(*array.Int64Builder).Append(l.Batch)     //nolint:forcetypeassert // letterSchema says so
		b.Field(2).(*array.Uint64Builder).Append(l.Sequence) //nolint:forcetypeassert // letterSchema says so
		b.Field(3).(*array.Int64Builder).Append(l.Index)     //nolint:forcetypeassert // letterSchema says so
		text(4, string(l.Kind), true)
		text(5, l.Reason, true)
		place := cmp.Or(l.Subject, l.File)
		text(6, place, place != "")
		text(7, string(l.Payload), l.Payload != nil && plain)
		text(8, base64.StdEncoding.EncodeToString(l.Payload), !plain)
		text(9, string(l.Row), l.Row != nil)
	}
	return b.NewRecord()
}
