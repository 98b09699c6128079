// Package stream is the vocabulary that sources, sinks, the planner and the engine share: what a batch of rows
// is, what an offset promises, what a sink must do to hold every batch exactly once, and how a connector
// describes its options. It holds no mechanism.
//
// Memory: the callee borrows Arrow data and retains what it keeps; who creates a record releases it.
// Exceptions are written at the method.
package stream
