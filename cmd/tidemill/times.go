package main

import (
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// parseTime reads a time of the command line; without a zone it is UTC.
func parseTime(flag, text string) (time.Time, error) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
	} {
		if at, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, diag.New(diag.BadTime, "--%s %q is not a time", flag, text).
		WithHint("write it like 2026-01-01, '2026-01-01 12:30:00' (UTC) or 2026-01-01T12:30:00+01:00")
}

// parseRange reads --from and --to, of which each may be empty.
func parseRange(fromText, toText string) (from, to time.Time, err error) {
	if fromText != "" {
		if from, err = parseTime("from", fromText); err != nil {
			return from, to, err
		}
	}
	if toText != "" {
		if to, err = parseTime("to", toText); err != nil {
			return from, to, err
		}
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, diag.New(diag.BadTime, "--from %s is not before --to %s", fromText, toText)
	}
	return from, to, nil
}

// parsePeriod reads a length of time such as 1d, 6h or '1 day'.
func parsePeriod(flag, text string, least time.Duration) (time.Duration, error) {
	const longest = 200 * 365 * 24 * time.Hour
	v, err := sqlfront.Value(stream.Field{Type: stream.Duration, Min: int64(least), Max: int64(longest)},
		text)
	if err != nil {
		return 0, diag.New(diag.BadTime, "--%s %q %s", flag, text, err).
			WithHint("write it like 1d, 6h, '1 day' or '90 minutes'")
	}
	d, _ := v.(time.Duration)
	return d, nil
}

// stamp writes a time as people and scripts read it: UTC, as short as it can be.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.999999Z")
}

// micros writes a time in microseconds since 1970, or nil.
func micros(us *int64) any {
	if us == nil {
		return nil
	}
	return stamp(time.UnixMicro(*us))
}
