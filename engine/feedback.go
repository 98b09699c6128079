package engine

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// A query must not read what it writes itself, by a sink or as dead and late letters: it would never come to an end.
// The options tell some of it without a server, which is what lint goes by (checkLoop); a start also asks the servers
// which streams they are, whatever names they were reached by (checkFed). What other queries write may be read.

// outlet is something that a query writes to.
type outlet struct {
	connector string
	options   stream.Options
	subjects  []string                               // of jetstream: patterns of what is published
	refuse    func(read *planner.Source) *diag.Error // says that source read would get it
}

// checkLoop refuses a query of whose outlets the options say that they feed one of its own sources.
func (q *Query) checkLoop() error {
	outlets, err := q.outlets()
	if err != nil {
		return err
	}
	for _, out := range outlets {
		for _, s := range q.plan.Sources {
			if out.feeds(s) {
				return out.refuse(s)
			}
		}
	}
	return nil
}

// outlets are the query's dead letter subjects and its sinks.
func (q *Query) outlets() ([]outlet, error) {
	var all []outlet
	for _, s := range q.plan.Sources {
		subject := s.Options.String("dead_letter_subject")
		connector, ok := q.opt.Registry.Sinks["jetstream"]
		if subject == "" || !ok {
			continue
		}
		options, err := deadOptions(connector.Spec, s, subject)
		if err != nil {
			return nil, err
		}
		all = append(all, outlet{"jetstream", options, []string{subject}, q.readsLetters(s)})
	}
	for i, name := range q.def.Sinks {
		sink := findSink(q.app, name)
		if sink == nil {
			return nil, diag.New(diag.UnknownName, "sink %q is not defined", name).At(q.app.Text, q.def.SinkSpan[i])
		}
		out := outlet{connector: sink.Connector, options: sink.Options, refuse: q.readsSink(i)}
		if sink.Connector == "jetstream" {
			out.subjects = q.publishes(sink.Options)
		}
		all = append(all, out)
	}
	return all, nil
}

// publishes is the pattern of what a jetstream sink publishes: without a subject the stream's name in lower case, and in
// update mode the key behind it.
func (q *Query) publishes(o stream.Options) []string {
	subject := o.String("subject")
	if subject == "" {
		subject = strings.ToLower(o.String("stream"))
	}
	if subject == "" {
		return nil
	}
	if q.def.Mode == stream.Update && !strings.Contains(subject, "{") {
		subject += strings.Repeat(".*", len(q.plan.Keys))
	}
	return []string{subject}
}

func (q *Query) readsSink(i int) func(*planner.Source) *diag.Error {
	return func(read *planner.Source) *diag.Error {
		return diag.New(diag.SinkLoop, "sink %q writes into what source %q reads: query %q would read its own output",
			q.def.Sinks[i], read.Name, q.def.Name).At(q.app.Text, q.def.SinkSpan[i]).
			WithHint("write to another stream or folder, or narrow the source's subject")
	}
}

func (q *Query) readsLetters(from *planner.Source) func(*planner.Source) *diag.Error {
	return func(read *planner.Source) *diag.Error {
		whose := "its own dead letters"
		if read != from {
			whose = fmt.Sprintf("the dead letters of source %q", from.Name)
		}
		return diag.New(diag.SinkLoop, "source %q would read %s, which go to subject %q", read.Name, whose,
			from.Options.String("dead_letter_subject")).At(q.app.Text, from.Span).
			WithHint("publish dead letters to a subject that the query does not read")
	}
}

// feeds reports whether the options say that what is written is among what source reads.
func (out outlet) feeds(source *planner.Source) bool {
	switch {
	case out.connector == "jetstream" && source.Connector == "jetstream":
		to, from := out.options.String("stream"), source.Options.String("stream")
		if !sameServer(out.options, source.Options) || to != "" && to != from {
			return false
		}
		read := source.Options.List("subject")
		if len(read) == 0 { // all of the stream
			return to == from
		}
		// A subject belongs to one stream of a server: where subjects meet, so do the streams.
		return patternsMeet(read, out.subjects)
	case source.Connector == "file" && out.options.Has("path"):
		return underPath(out.options.String("path"), source.Options.String("path"))
	}
	return false
}

// sameServer reports whether the options of two connections surely name one JetStream. A host may be written in several
// ways, and of several servers of a cluster one is enough.
func sameServer(a, b stream.Options) bool {
	if a.String("domain") != b.String("domain") {
		return false
	}
	known := addresses(b.String("url"))
	return slices.ContainsFunc(addresses(a.String("url")), func(s string) bool { return slices.Contains(known, s) })
}

// addresses are the servers of an option url, each as host:port.
func addresses(urls string) []string {
	list := strings.Split(urls, ",")
	for i, text := range list {
		list[i] = strings.TrimSpace(text)
		u, err := url.Parse(list[i])
		if err != nil || u.Host == "" {
			continue
		}
		host, port := strings.ToLower(u.Hostname()), u.Port()
		if host == "localhost" || host == "::1" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "4222"
		}
		list[i] = host + ":" + port
	}
	return list
}

// underPath reports whether a source's glob takes files of the folder that a sink writes to.
func underPath(sink, source string) bool {
	if sink == "" || source == "" {
		return false
	}
	dir := source
	for strings.ContainsAny(dir, "*?[") {
		dir = filepath.Dir(dir)
	}
	rel, err := filepath.Rel(absolute(dir), absolute(sink))
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return false
	}
	return rel == "." || strings.Contains(source, "**") // which takes what lies in folders below
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return filepath.Clean(path)
}

// checkFed refuses a sink, before it is opened, of which the servers say that it feeds one of the query's own sources.
func (q *Query) checkFed(ctx context.Context, sink stream.Sink, refuse func(*planner.Source) *diag.Error) error {
	if _, ok := sink.(stream.Located); !ok {
		return nil
	}
	for _, in := range q.inputs {
		read, err := q.locate(ctx, in.src)
		if err != nil {
			return fmt.Errorf("find what source %q reads: %w", in.def.Name, err)
		}
		if read.ID == "" {
			continue
		}
		written, err := q.locate(ctx, sink)
		if err != nil {
			return fmt.Errorf("find what a sink of query %q writes to: %w", q.def.Name, err)
		}
		if written.ID == read.ID && patternsMeet(written.Subjects, read.Subjects) {
			return refuse(in.def).WithNote("the server says that both are %s", read.Name)
		}
	}
	return nil
}

// locate asks a source or sink where its rows lie; nowhere if it can not tell.
func (q *Query) locate(ctx context.Context, of any) (at stream.Location, err error) {
	located, ok := of.(stream.Located)
	if !ok {
		return at, nil
	}
	err = q.retryStart(ctx, func() (err error) {
		at, err = located.Locate(ctx)
		return err //nolint:wrapcheck // checkFed says whom it asked
	})
	return at, err
}

// patternsMeet reports whether some subject matches a pattern of each list.
func patternsMeet(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return subjectsMeet(x, y) })
	})
}
