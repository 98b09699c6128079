package duck

// #include "slack.h"
import "C"

import (
	"sync"
	"time"
)

// slackEvery is how often the memory that a long statement has freed is looked at.
const slackEvery = 50 * time.Millisecond

// slack is a bound on memory that DuckDB has freed and its allocator keeps. Each thread has its own, for ten seconds, so that
// a statement that sorts or joins much leaves twice what its memory limit allows. The allocator is the process's: the
// least bound of its databases counts while they all work.
type slack int64

// during keeps the bound until done is called. What is over within slackEvery costs a timer.
func (most slack) during() (done func()) {
	if most <= 0 {
		return func() {}
	}
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Add(1)
	timer := time.AfterFunc(slackEvery, func() { // ends with done, which waits for it
		defer watching.Done()
		most.watch(over)
	})
	return func() {
		close(over)
		if timer.Stop() {
			return
		}
		watching.Wait()
		most.keep() // what the statement has freed at its end
	}
}

func (most slack) watch(over <-chan struct{}) {
	tick := time.NewTicker(slackEvery)
	defer tick.Stop()
	for {
		most.keep()
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}

func (most slack) keep() {
	if most.now() > int64(most) {
		C.tidemill_purge()
	}
}

// now returns what is free and kept, or -1 if DuckDB has another allocator.
func (slack) now() int64 { return int64(C.tidemill_slack()) }
