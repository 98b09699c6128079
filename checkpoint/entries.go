package checkpoint

import (
	"time"

	"github.com/tidemill/tidemill/stream"
)

// Opened is the first entry of each life of an owner: the Open entry, whose name the function Open has taken.
type Opened struct {
	Epoch   uint64    `json:"epoch"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"` // of the engine
	Time    time.Time `json:"time"`
	// Lives are the owner's and those of before it in this directory, this one last; stream.LivesMax at most. A copy of
	// the directory goes on with others.
	Lives []string `json:"lives,omitempty"`
}

// Intent says exactly what a batch reads, before the first effect of it that anyone outside can see. A batch
// that runs again runs from its Intent and nothing else.
type Intent struct {
	Batch     int64                   `json:"batch"`
	Time      time.Time               `json:"time"` // what now() means in this batch
	Sources   map[string]stream.Range `json:"sources"`
	Tables    map[string]string       `json:"tables,omitempty"` // reference table -> hash of the copy in force
	Watermark *int64                  `json:"watermark"`        // wm(N): evicts and emits; microseconds since 1970; null = not known yet
	Late      *int64                  `json:"late"`             // wm(N-1): drops late rows
	Plan      string                  `json:"plan"`             // hash of the plan
	Final     bool                    `json:"final,omitempty"`  // watermark at infinity: a batch run or slot
	Slot      *Slot                   `json:"slot,omitempty"`
	Tick      *time.Time              `json:"tick,omitempty"` // the trigger's tick this batch runs for
	// Evolved says that the batch reads nothing and tells the sinks what a changed text makes of what they hold.
	Evolved  bool               `json:"evolved,omitempty"`
	Idle     []string           `json:"idle,omitempty"` // sources that do not hold the watermark back in this batch
	Excluded map[string][]int64 `json:"excluded,omitempty"`
	// Waiting are the slots that the trigger has decided on, up to Tick, and that have not begun, oldest first. ByHand
	// says that the trigger did not ask for Slot.
	Waiting []Waiting `json:"waiting,omitempty"`
	ByHand  bool      `json:"by_hand,omitempty"`
}

// Waiting is slots in a row: one for each tick in (Start, End], or a single one.
type Waiting struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Each  bool      `json:"each,omitempty"`
}

// Slot is the half-open stretch of time that one cron slot or backfill step is bound to.
type Slot struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Key names the slot in sinks: the same slot of the same query replaces what it wrote before.
func (s Slot) Key() string {
	return s.Start.UTC().Format(SlotTime) + "-" + s.End.UTC().Format(SlotTime)
}

// SlotTime is the layout of the two times in a slot's Key.
const SlotTime = "20060102T150405Z"

// Exclude is logged when a poison batch has been bisected: the rows, by source and ordinal in the batch, that
// make the plan fail. It is durable before the batch delivers and holds for every later run of the batch.
type Exclude struct {
	Batch int64                  `json:"batch"`
	Rows  map[string][]Exclusion `json:"rows"`
}

// Exclusion is one row that a batch leaves out.
type Exclusion struct {
	Ordinal int64  `json:"ordinal"` // of the decoded row in the batch's input of that source, from 0
	Reason  string `json:"reason"`
}

// Staged says that a sink's result is kept in a file until the batch's Commit.
type Staged struct {
	Batch int64  `json:"batch"`
	Sink  string `json:"sink"`
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	CRC   uint32 `json:"crc"`
}

// SourceCount is what became of one source's rows in one batch. In = Used + Filtered + Late + NullTime +
// Dead.
type SourceCount struct {
	Messages int64  `json:"messages"`
	CRC      uint32 `json:"crc"`
	In       int64  `json:"in"` // rows after decoding, and payloads that did not decode
	Used     int64  `json:"used"`
	Filtered int64  `json:"filtered"`
	Late     int64  `json:"late"`
	NullTime int64  `json:"null_time"`
	Dead     int64  `json:"dead"`
	Lost     int64  `json:"lost"`
	Skipped  int64  `json:"skipped"`  // of Dead, those dropped under on_error = 'skip'
	MaxTime  *int64 `json:"max_time"` // largest event time seen in this batch, microseconds
}

// Commit says that a batch is in every sink, and what it was.
type Commit struct {
	Batch      int64                    `json:"batch"`
	Watermark  *int64                   `json:"watermark"`  // of the query after this batch: wm(N+1)
	Watermarks map[string]int64         `json:"watermarks"` // by source, those that have one yet
	Sources    map[string]SourceCount   `json:"sources"`
	Rows       int64                    `json:"rows"`      // of the result
	Delivered  map[string]stream.Marker `json:"delivered"` // last batch in each sink, after this batch
	State      StateCount               `json:"state"`
	Inexact    bool                     `json:"inexact,omitempty"` // rows were lost and skipped since the last reset
	Totals     Totals                   `json:"totals"`            // since the query began, this batch included
	Millis     float64                  `json:"millis"`            // wall time of the batch
	// Ended is when a slot was done: ticks up to then came due while it ran. Replaced says that it was given up before
	// it had written anything, because a newer one was to run.
	Ended    *time.Time `json:"ended,omitempty"`
	Replaced bool       `json:"replaced,omitempty"`
}

// StateCount describes logical state rows (groups, keys), not the partials an operator may keep.
type StateCount struct {
	Rows    int64 `json:"rows"`
	Updated int64 `json:"updated"`
	Removed int64 `json:"removed"`
	Dropped int64 `json:"dropped"`           // raw late rows
	Memory  int64 `json:"memory,omitempty"`  // bytes of state kept outside DuckDB, in memory
	Spilled int64 `json:"spilled,omitempty"` // and in files
}

// Totals are counters over the life of a query.
type Totals struct {
	Batches  int64 `json:"batches"`
	In       int64 `json:"in"`
	Out      int64 `json:"out"`
	Late     int64 `json:"late"`
	NullTime int64 `json:"null_time"`
	Dead     int64 `json:"dead"`
	Lost     int64 `json:"lost"`
}

// Snapshot says that the state version of a batch is complete on disk.
type Snapshot struct {
	Batch int64 `json:"batch"`
}

// Close is the last entry of a clean stop.
type Close struct {
	Time time.Time `json:"time"`
}

// Meta is what a query's directory holds beside its log: which query it belongs to, and the very text and
// plan that its uncommitted batches must be run again with.
type Meta struct {
	UUID    string    `json:"uuid"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Version string    `json:"version"` // of the engine that wrote it last
	SQL     string    `json:"sql"`     // everything the query needs, as one text that parses by itself
	Plan    string    `json:"plan"`    // the plan's fingerprint
	// Layout has one line per thing that must stay the same while the checkpoint lives: operators with their
	// keys and state columns, source identities, fixed options. A difference is shown line by line.
	Layout []string                 `json:"layout"`
	Start  map[string]stream.Offset `json:"start"` // where each source began, resolved once
	// Identities name the life of what each source read when its start was resolved, until an Intent says it.
	Identities map[string]string `json:"identities,omitempty"`
	// Stateful says that the plan keeps tables from batch to batch, so that batches after the newest state
	// version must be run again at the next start. It stays as it was when the state was begun.
	Stateful bool `json:"stateful,omitempty"`
	// Evolution is how the state that counts was begun when a changed text had it built anew; nil for the first one.
	Evolution *Evolution `json:"evolution,omitempty"`
}

// Evolution says which state a changed text of the query began with. State versions of before are gone.
type Evolution struct {
	Number int               `json:"number"`           // of the state, counting from 1; it names its folder
	Batch  int64             `json:"batch"`            // the last batch of the old text; the state is of after it
	Shift  int64             `json:"shift"`            // is added to batch numbers where rows are put in order: history may have taken more steps
	Tables map[string]string `json:"tables,omitempty"` // the copies of reference tables for the next batch
}
