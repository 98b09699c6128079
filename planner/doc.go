// Package planner turns a query's syntax tree into a plan: data that says what runs per batch, what state is
// kept, what frees it and when rows leave. It runs nothing. The batch plan of a query is the same tree with
// state and watermark removed.
package planner
