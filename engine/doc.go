// Package engine is the batch loop: the one place that orders log → run → sink → commit.
//
// A Query is opened from a planner.App. Open plans it, takes the lock of its directory, loads the newest state
// version and runs the batches after it again from their Intents, so that the query stands where its log says it
// stood. Run drives it by its trigger; Step and Idle drive it by hand, as the test runner does. Every batch goes
// through the numbered steps of ARCHITECTURE.md, "Life of a batch"; batch.go reads like that list.
//
// A query is owned by one goroutine; Status is an immutable snapshot that anyone may read. Queries of one process
// share nothing but the process: one that fails leaves the others running.
//
// The package is the whole of Tidemill as a library: Parse reads SQL against a registry of connectors, Run drives
// its queries, a Listener hears of every batch. The example shows a program that does.
package engine
