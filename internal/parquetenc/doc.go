// Package parquetenc writes Arrow records as Parquet files. It takes the types that results have and makes what Arrow's own
// writer makes of them, with a fraction of its work: a page's values are copied out of the record's buffers once and
// compressed. Arrow's library writes headers and footer.
//
// A row group is a chunk for each leaf of the schema, and a chunk is pages of about a mebibyte:
//
//	[repetition levels] [definition levels] values      compressed together
//
// Values are numbers into the chunk's dictionary as long as they repeat, else plain. Levels say how deep a leaf is there at
// all, and which list begins anew; see levels.go.
package parquetenc
