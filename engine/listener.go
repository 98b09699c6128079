package engine

import "time"

// Listener hears what queries do. Every callback may be nil. Callbacks run on the query's goroutine, in order, and
// must return quickly. Log lines, metrics and progress output are all made from these events.
type Listener struct {
	// QueryStarted comes after resume, before the first batch of this life.
	QueryStarted func(Started)
	// BatchDone comes after each batch that was committed.
	BatchDone func(Progress)
	// BatchRetried comes when a fault is to be tried again after a pause.
	BatchRetried func(Retried)
	// SnapshotDone comes when a state version is durable.
	SnapshotDone func(SnapshotDone)
	// Evolving comes now and then while the state of a changed text is built from history.
	Evolving func(Evolving)
	// Evolved comes when a changed text has taken effect on state that was built for it, after QueryStarted.
	Evolved func(Evolved)
	// QueryStopped comes last. Err is nil after a clean stop.
	QueryStopped func(Stopped)
}

// Started describes a query that stands where its log says it stood.
type Started struct {
	Query    string
	UUID     string
	Epoch    uint64
	New      bool          // nothing was there before
	Batch    int64         // the next batch's number
	Load     time.Duration // what loading the state version took
	Replayed int           // batches run again to rebuild state
	Rerun    time.Duration // what that took
	Torn     int64         // bytes of an unacknowledged log tail that were cut off
}

// Retried describes a fault that is tried again.
type Retried struct {
	Query   string
	Batch   int64
	Attempt int
	Pause   time.Duration
	Err     error
}

// SnapshotDone describes a durable state version.
type SnapshotDone struct {
	Query    string
	Batch    int64
	Began    time.Time
	Held     time.Duration // how long batches waited for the state to be handed over
	Duration time.Duration // from Began until it was durable
}

// Evolving says how far a changed text has come through the history of its query, in rows.
type Evolving struct {
	Query    string
	Rows, Of int64
}

// Evolved describes a changed text that has taken effect.
type Evolved struct {
	Query    string
	Batch    int64 // the first of the new text
	Rows     int64 // of history that its state was built from
	Duration time.Duration
}

// Stopped describes the end of a query's life in this process.
type Stopped struct {
	Query string
	Err   error
}

// Join returns a Listener that passes each event to all of ls in order.
func Join(ls ...Listener) Listener {
	return Listener{
		QueryStarted: func(e Started) { each(ls, func(l Listener) func(Started) { return l.QueryStarted }, e) },
		BatchDone:    func(e Progress) { each(ls, func(l Listener) func(Progress) { return l.BatchDone }, e) },
		BatchRetried: func(e Retried) { each(ls, func(l Listener) func(Retried) { return l.BatchRetried }, e) },
		SnapshotDone: func(e SnapshotDone) {
			each(ls, func(l Listener) func(SnapshotDone) { return l.SnapshotDone }, e)
		},
		Evolving:     func(e Evolving) { each(ls, func(l Listener) func(Evolving) { return l.Evolving }, e) },
		Evolved:      func(e Evolved) { each(ls, func(l Listener) func(Evolved) { return l.Evolved }, e) },
		QueryStopped: func(e Stopped) { each(ls, func(l Listener) func(Stopped) { return l.QueryStopped }, e) },
	}
}

func each[E any](ls []Listener, pick func(Listener) func(E), event E) {
	for _, l := range ls {
		tell(pick(l), event)
	}
}

func tell[E any](f func(E), event E) {
	if f != nil {
		f(event)
	}
}
