package stream

import "time"

// SourceFields returns the options that every source has, whatever its connector. A connector's Spec lists only
// its own. Typed sources do not take the options that are about decoding.
func SourceFields(typed bool) []Field {
	common := []Field{
		{Name: "max_rows_per_batch", Type: Int, Min: 1, Max: 1 << 31, Summary: "Most messages (rows for typed sources) that one batch takes. 100000 for jetstream, no bound for the others, unless set."},
		{Name: "max_bytes_per_batch", Type: Bytes, Min: 1 << 10, Max: 16 << 30, Summary: "Most payload bytes that one batch takes. 32 MiB for jetstream and file, no bound for the others, unless set."},
		{Name: "max_ahead", Type: Duration, Min: 0, Max: int64(200 * 365 * 24 * time.Hour), Summary: "Event times further than this past the batch time are dead-lettered; 0 turns it off. Default 1 day for jetstream, off for the others and in batch runs."},
		{Name: "on_data_loss", Type: Enum, Values: []string{"fail", "skip"}, Default: "fail", Summary: "What to do when rows that are still to be read are gone: stop, or count them and go on."},
	}
	if typed {
		return common
	}
	return append(common,
		Field{Name: "format", Type: Enum, Values: []string{"json", "ndjson", "csv", "arrow", "text", "parquet"}, Default: "json", Fixed: true, Summary: "How a payload becomes rows: one JSON object (or an array of objects), newline-delimited objects, CSV lines, an Arrow IPC stream, or the text itself (VARCHAR, or BLOB for bytes of any kind); parquet is for connector = 'file' only."},
		Field{Name: "on_error", Type: Enum, Values: []string{"dead_letter", "skip", "fail"}, Default: "dead_letter", Summary: "What to do with a payload or row that does not decode. A Parquet file that can not be read is one payload."},
		Field{Name: "timestamp_format", Type: Enum, Values: []string{"iso", "s", "ms", "us", "ns"}, Default: "iso", Fixed: true, Summary: "How TIMESTAMP columns are written: ISO 8601 text, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970."},
		Field{Name: "csv_delimiter", Type: String, Default: ",", Fixed: true, Summary: "One character between CSV fields."},
		Field{Name: "csv_header", Type: Bool, Default: "false", Fixed: true, Summary: "Whether each payload or file begins with a line of column names."},
		Field{Name: "csv_null", Type: String, Default: "", Fixed: true, Summary: "The unquoted CSV text that means NULL."},
		Field{Name: "dead_letter_subject", Type: String, Summary: "JetStream subject that dead letters are published to as well, exactly once."},
	)
}
