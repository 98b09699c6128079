package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// TestTakeFree asks that a stored text reaches its servers as the new text says, and keeps what makes it another thing.
func TestTakeFree(t *testing.T) {
	t.Parallel()
	spec := stream.Spec{Fields: []stream.Field{{Name: "url"}, {Name: "stream", Fixed: true}, {Name: "token"}}}
	reg := stream.Registry{Sources: map[string]stream.SourceConnector{"c": {Spec: spec}},
		Sinks: map[string]stream.SinkConnector{"c": {Spec: spec}}}
	stored := &planner.App{
		Sources: []*planner.Source{
			{Name: "s", Connector: "c", Options: stream.Options{"url": "nats://***@old", "stream": "S", "format": "json", "token": "t"}},
			{Name: "gone", Connector: "c", Options: stream.Options{"url": "u"}}},
		Sinks: []*planner.Sink{{Name: "o", Connector: "c", Options: stream.Options{"url": "nats://***@old", "stream": "O"}}}}
	next := &planner.App{
		Sources: []*planner.Source{{Name: "s", Connector: "c",
			Options: stream.Options{"url": "nats://me:secret@new", "stream": "S2", "format": "csv", "max_ahead": "1"}}},
		Sinks: []*planner.Sink{{Name: "o", Connector: "c", Options: stream.Options{"url": "nats://me:secret@new", "stream": "O2"}}}}
	takeFree(reg, stored, next)
	require.Equal(t, stream.Options{"url": "nats://me:secret@new", "stream": "S", "format": "json", "max_ahead": "1"}, stored.Sources[0].Options)
	require.Equal(t, stream.Options{"url": "u"}, stored.Sources[1].Options)
	require.Equal(t, stream.Options{"url": "nats://me:secret@new", "stream": "O"}, stored.Sinks[0].Options)
}
