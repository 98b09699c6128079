package stream

import "context"

// Location is where the rows of a source or sink lie.
type Location struct {
	ID       string   // of one stream for ever, whichever server and name it was reached by; "" if there is none yet
	Name     string   // for messages
	Subjects []string // patterns of what is read or written there
}

// Located is a Source or Sink that can ask its server where its rows lie, before anything is read or written: a query
// that writes into what it reads is refused. A sink is asked before its Open.
type Located interface {
	Locate(ctx context.Context) (Location, error)
}
