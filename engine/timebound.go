package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// published reports that bounds on the history of the source mean when its rows were stored, not their event time.
func (in *input) published() bool {
	return in.def.Options.Has("history_time") && in.def.Options.String("history_time") == "published"
}

// stretch narrows rng to the rows that the source stored in [from, to); a zero time is no bound.
func (in *input) stretch(ctx context.Context, rng stream.Range, from, to time.Time) (stream.Range, error) {
	if !in.published() {
		return rng, nil
	}
	src, ok := in.src.(stream.TimeBound)
	if !ok {
		return rng, diag.New(diag.BadOption, "source %q does not know when its rows were stored", in.def.Name).
			WithHint("leave history_time out")
	}
	if !from.IsZero() {
		narrowed, err := in.upTo(ctx, src, rng, from)
		if err != nil {
			return rng, err
		}
		rng.From = narrowed.To
	}
	if to.IsZero() {
		return rng, nil
	}
	return in.upTo(ctx, src, rng, to)
}

// upTo ends rng where the source stood at t. Available keeps the end within what is there, and not before the start.
func (in *input) upTo(
	ctx context.Context, src stream.TimeBound, rng stream.Range, t time.Time,
) (stream.Range, error) {
	until, err := src.At(ctx, t)
	if err != nil {
		return rng, fmt.Errorf("find %s in source %q: %w", t.UTC().Format(time.RFC3339Nano), in.def.Name, err)
	}
	avail, err := in.src.Available(ctx, rng.From, rng.Identity, stream.Limit{Until: until})
	if err != nil {
		return rng, fmt.Errorf("ask source %q: %w", in.def.Name, err)
	}
	rng.To = avail.To
	return rng, nil
}
