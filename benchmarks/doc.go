// Package benchmarks measures Tidemill end to end and proves each result before it prints a number.
//
// A suite starts two processes of the same binary: a broker (the embedded NATS server with JetStream on disk) and a
// worker (`tidemill run`, just as a user runs it). The driver publishes rows that are a pure function of a seed,
// lets the worker run, and reads what its progress lines, the kernel and the sinks say of it. CPU time is therefore
// known by process, and the memory that is reported is the worker's alone. Every suite then writes its rows to a
// file, runs the query in plain DuckDB over that file, reads the sink back and compares: a difference is an error,
// and no figure is given.
//
// Machines are noisy, so throughput is given beside a raw JetStream read of the same stream in the same run, and the
// load average at the start and end is part of every report.
//
// The package measures; it decides nothing about how a query runs, and nothing but cmd/tidemill imports it.
package benchmarks
