// Package nexmark is the Nexmark benchmark for Tidemill: a generator of its three streams, its queries q0 to
// q23, and what it takes to prove a run of them right.
//
// Event k of a Generator is a pure function of the Config and k. So any range can be made without the events
// before it, by any number of workers, again after a restart, and all of them agree; an exactly-once test
// needs just that. The rules (numbering, time, ids, ratios, prices, strings) are those of the Flink suite.
// What differs is said where it differs: the random numbers come from the seed, numbering starts at 0, and
// FIRST_PERSON_ID is added once to a bidder. Config.FlinkNumbering and Config.FlinkBidders bring the last two
// back.
//
// The rate decides what the data are, not only how fast they come: at 10,000 events a second an auction lives
// a third of a second at most and 1 M events are 100 s of event time. The same query at another rate is
// another workload, so a figure without its rate says nothing.
//
// Each query is a file of queries/: the statement CREATE QUERY, with a body in plain DuckDB SQL that an
// Oracle runs word for word. Ties that the suite leaves open are broken by further columns, so that every
// result but that of q12, which is about processing time, is a function of the events alone. Outcome
// makes a sink's final rows out of what was delivered to it, and Diff compares them with the Oracle's.
//
// The package generates and compares. It publishes nothing, runs no engine and measures nothing.
package nexmark
