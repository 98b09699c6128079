package jetstream

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain leaves out what nats-server 2.15.2 leaves behind itself: a server that is shut down while it makes the staging
// store of an atomic batch does not stop that store, and so not its clock.
func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server+".(*msgBlock).flushLoop"), goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}
