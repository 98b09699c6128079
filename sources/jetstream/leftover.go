package jetstream

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// Leftover is the durable consumer that a query has on the server, where it stays until someone removes it. While it is
// there, a work-queue stream admits no other query, and both it and an interest stream keep every message for it.
type Leftover struct {
	Stream  string
	Name    string
	Waiting uint64 // messages that the server keeps for it
	source  *source
}

// FindLeftover looks for the consumer of query cfg.Query and source cfg.Name. It returns nil if the server has none:
// the stream keeps its messages by limits and is read without one, or it is gone. The caller closes what it returns.
func FindLeftover(ctx context.Context, cfg stream.SourceConfig) (*Leftover, error) {
	opened, err := open(cfg, nil)
	if err != nil {
		return nil, err
	}
	s := opened.(*source) //nolint:forcetypeassert // open makes nothing else
	l := &Leftover{Stream: s.stream, Name: s.durableName(), source: s}
	var info struct {
		Pending uint64 `json:"num_pending"`
		Unacked uint64 `json:"num_ack_pending"`
	}
	err = s.client.API(ctx, "CONSUMER.INFO."+l.Stream+"."+l.Name, nil, &info)
	l.Waiting = info.Pending + info.Unacked
	if err == nil {
		return l, nil
	}
	l.Close()
	if natsconn.IsAPI(err, natsconn.ErrConsumerNotFound, natsconn.ErrStreamNotFound) {
		return nil, nil //nolint:nilnil // no consumer is an answer
	}
	return nil, s.fault(err)
}

// Remove deletes the consumer. One that is gone meanwhile is no fault.
func (l *Leftover) Remove(ctx context.Context) error {
	err := l.source.client.API(ctx, "CONSUMER.DELETE."+l.Stream+"."+l.Name, nil, nil)
	if err == nil || natsconn.IsAPI(err, natsconn.ErrConsumerNotFound, natsconn.ErrStreamNotFound) {
		return nil
	}
	if fault := l.source.fault(err); diag.CodeOf(fault) != "" {
		return fault
	}
	return fmt.Errorf("delete consumer %q of stream %q: %w", l.Name, l.Stream, err)
}

// Close frees the connection.
func (l *Leftover) Close() { l.source.client.Close() }
