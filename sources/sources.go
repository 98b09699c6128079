// Package sources joins the source connectors that come with Tidemill.
package sources

import (
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/sources/file"
	"github.com/tidemill/tidemill/sources/generator"
	"github.com/tidemill/tidemill/sources/jetstream"
	"github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// Default returns the connectors by name, in a map of the caller's own. Memory sources read from hub, and jetstream sources
// reach servers by dial; nil is over the network.
func Default(hub *memory.Hub, dial natsconn.Dial) map[string]stream.SourceConnector {
	all := map[string]stream.SourceConnector{}
	for _, c := range []stream.SourceConnector{
		file.Connector(), generator.Connector(), jetstream.Connector(dial), memory.Connector(hub),
	} {
		all[c.Spec.Name] = c
	}
	return all
}
