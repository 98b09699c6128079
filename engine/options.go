package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Error is a fault for a user: code, place, message, hint.
type Error = diag.Error

// Options are what a query needs from the process it runs in. The zero value of a field means its default.
type Options struct {
	// DataDir holds one directory per query. Required.
	DataDir string
	// FS is the file system of everything that must survive a crash. Default: the operating system's.
	FS vfs.FS
	// Clock tells the time. Default: the machine's.
	Clock clock.Clock
	// Registry is the set of connectors. Required.
	Registry stream.Registry
	// Parse reads SQL text, as sqlfront does. It is needed where the text of a query has changed: to compare it with the
	// stored one, to finish a batch of that, and to go on with it while new state is built.
	Parse func(ctx context.Context, text *diag.Text) (*planner.App, error)
	// Log gets lifecycle and faults. Default: discarded.
	Log *slog.Logger
	// Listener hears of every batch. Its callbacks run on the query's goroutine and must be quick.
	Listener Listener
	// MemoryLimit is the memory of one query, in bytes, which is shared between DuckDB, keyed state and batches in flight.
	// Default 1 GiB.
	MemoryLimit int64
	// Window bounds what the queries of a process have mapped of spilled state. Default: one for each Run or Open.
	Window *spill.Window
	// Spill, when set, is where keyed state lies in the place of the query's share. Tests let all of it be spilled; nil in
	// production.
	Spill *spill.Options
	// Threads of DuckDB of one query. Default: all cores.
	Threads int
	// Version of the engine, for the log.
	Version string
	// NewLife makes an id for one life of one query. Default: random.
	NewLife func() string
	// Lock takes a directory's lock. Default: checkpoint.OSLock.
	Lock func(dir, info string) (io.Closer, error)
	// TakeOver adopts sinks whatever their markers say.
	TakeOver bool
	// Trigger, when set, replaces the query's own: --once and --available-now.
	Trigger *TriggerOverride
	// Hook is called at the named points of every batch; an error stops the query there as if the process had
	// been killed. Tests use it; nil in production.
	Hook func(point string) error
}

// randomLife is 64 random bits: enough to tell the lives of one query apart.
func randomLife() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// TriggerOverride says how a command line overrules the TRIGGER clause.
type TriggerOverride int

// The overrides.
const (
	OverrideOnce TriggerOverride = iota + 1
	OverrideAvailableNow
)

// The points of a batch that Hook is called at, in order.
const (
	BeforeIntent = "before_intent"
	AfterIntent  = "after_intent"
	AfterExecute = "after_execute"
	MidSink      = "mid_sink"
	AfterSink    = "after_sink"
	AfterCommit  = "after_commit"
	AfterState   = "after_state"
	AfterReplace = "after_replace" // instead of the ones after after_intent: a slot made room for a newer one
)

// Tunables that are not worth an option: each is explained where it is used.
const (
	commitDelay   = 20 * time.Millisecond // a Commit waits this long for the next Intent to ride with
	pollInterval  = 10 * time.Millisecond // between looks at sources that can not wait, as in Spark
	backoffFirst  = 100 * time.Millisecond
	backoffMax    = 10 * time.Second
	batchMessages = 100_000  // of a jetstream or generator source in one batch, unless it says otherwise
	batchBytes    = 32 << 20 // likewise: packed messages hold many rows
	excludedMax   = 1000     // more poison rows than this in one batch is not poison but a wrong query
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = 1 << 30
	}
	if o.Window == nil {
		o.Window = spill.NewWindow()
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.NewLife == nil {
		o.NewLife = randomLife
	}
	if o.Lock == nil {
		o.Lock = checkpoint.OSLock
	}
	return o
}
