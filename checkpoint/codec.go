package checkpoint

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/wal"
)

// The types of log entries. The numbers are part of the format and never change.
const (
	typeOpen     = 1
	typeIntent   = 2
	typeExclude  = 3
	typeStaged   = 4
	typeCommit   = 5
	typeSnapshot = 6
	typeClose    = 7
)

// noBatch is the batch of entries that belong to none, and the version of a query that has no state version.
const noBatch = -1

// encode makes a log entry. Payloads are JSON: fields are only ever added, and an added field of Intent is
// omitted when empty, so that the CRC of an Intent stays what it was.
func encode(kind uint8, batch int64, v any) (wal.Entry, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return wal.Entry{}, fmt.Errorf("encode %s of batch %d: %w", reflect.TypeOf(v).Name(), batch, err)
	}
	return wal.Entry{Type: kind, Batch: batch, Payload: payload}, nil
}

// decode reads the payload of an entry. The log's checksum held, so a payload that can not be read was
// written by another version.
func decode[T any](e wal.Entry) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(e.Payload, v); err != nil {
		return nil, diag.Wrap(diag.CheckpointUnusable, err,
			"the log has a %s of batch %d that can not be read",
			reflect.TypeFor[T]().Name(), e.Batch).
			WithHint("run the version of Tidemill that wrote the checkpoint, or a later one")
	}
	return v, nil
}

// CRC returns the CRC32C of the Intent as the log keeps it. Sinks store it in their marker: the same batch
// number over another range is another batch.
func (i Intent) CRC() uint32 {
	payload, err := json.Marshal(i.normal())
	if err != nil {
		return 0 // only times outside the years 0 to 9999 do not marshal, and Intend has refused those
	}
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

// normal returns the Intent as it comes back from the log: times in UTC without a monotonic part.
func (i Intent) normal() Intent {
	i.Time = i.Time.UTC().Round(0)
	if i.Slot != nil {
		i.Slot = &Slot{Start: i.Slot.Start.UTC().Round(0), End: i.Slot.End.UTC().Round(0)}
	}
	if i.Tick != nil {
		tick := i.Tick.UTC().Round(0)
		i.Tick = &tick
	}
	for n, w := range i.Waiting {
		if n == 0 {
			i.Waiting = slices.Clone(i.Waiting)
		}
		i.Waiting[n] = Waiting{Start: w.Start.UTC().Round(0), End: w.End.UTC().Round(0), Each: w.Each}
	}
	return i
}
