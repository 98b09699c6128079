// Package sqlfront turns SQL text into a *planner.App: it splits the text into statements, reads the CREATE
// headers by recursive descent, checks options against each connector's Spec, and leaves the bodies to
// DuckDB's own parser. A query body stays verbatim; everything that is about streaming stands in the
// header.
//
// Every fault carries its byte span. All faults of a text are reported at once, in the order of their places:
// a fault costs the column, option or statement it stands in, never what follows.
//
// The package runs no query, opens no connector and reads no file except secrets. Values of secrets are in
// the App's options as stream.SecretValue, which prints as the reference that was written, and nowhere else.
package sqlfront
