package diag

// Code names a kind of fault. Codes are stable: scripts match on them.
type Code string

// Exit is the process exit code of a fault, as docs/cli.md lists them.
type Exit int

// The exit codes.
const (
	ExitOK          Exit = 0   // all done
	ExitFailed      Exit = 1   // a query failed, or errors were found
	ExitUsage       Exit = 2   // wrong command line or configuration
	ExitSQL         Exit = 3   // SQL refused
	ExitState       Exit = 4   // checkpoint, state or sink marker unusable
	ExitUnreachable Exit = 5   // source, sink or server unreachable
	ExitAborted     Exit = 130 // second interrupt
)

// The codes. Each is described in Codes; a test keeps the two together, sorted and used.
const (
	AggregateUnsupported Code = "AGGREGATE_UNSUPPORTED"
	AppendNeedsWatermark Code = "APPEND_NEEDS_WATERMARK"
	BadCron              Code = "BAD_CRON"
	BadName              Code = "BAD_NAME"
	BadOption            Code = "BAD_OPTION"
	BadTime              Code = "BAD_TIME"
	BadType              Code = "BAD_TYPE"
	BadVariable          Code = "BAD_VARIABLE"
	BadWatermark         Code = "BAD_WATERMARK"
	BatchFailed          Code = "BATCH_FAILED"
	BodyNotSelect        Code = "BODY_NOT_SELECT"
	CheckpointLocked     Code = "CHECKPOINT_LOCKED"
	CheckpointUnusable   Code = "CHECKPOINT_UNUSABLE"
	CompleteNeedsAgg     Code = "COMPLETE_NEEDS_AGGREGATE"
	ConservationBroken   Code = "CONSERVATION_BROKEN"
	DataDirUnusable      Code = "DATA_DIR_UNUSABLE"
	DataLoss             Code = "DATA_LOSS"
	DecodeFailed         Code = "DECODE_FAILED"
	DiskFull             Code = "DISK_FULL"
	DuplicateColumn      Code = "DUPLICATE_COLUMN"
	DuplicateName        Code = "DUPLICATE_NAME"
	FunctionRefused      Code = "FUNCTION_REFUSED"
	Internal             Code = "INTERNAL"
	JoinUnsupported      Code = "JOIN_UNSUPPORTED"
	LimitUnsupported     Code = "LIMIT_UNSUPPORTED"
	LogCorrupt           Code = "LOG_CORRUPT"
	MissingOption        Code = "MISSING_OPTION"
	NoStream             Code = "NO_STREAM"
	OrderByUnsupported   Code = "ORDER_BY_UNSUPPORTED"
	OutputFailed         Code = "OUTPUT_FAILED"
	OutOfMemory          Code = "OUT_OF_MEMORY"
	PlanChanged          Code = "PLAN_CHANGED"
	ReadFailed           Code = "READ_FAILED"
	RowFault             Code = "ROW_FAULT"
	SecretUnavailable    Code = "SECRET_UNAVAILABLE"
	ShapeUnsupported     Code = "SHAPE_UNSUPPORTED"
	SinkFailed           Code = "SINK_FAILED"
	SinkFenced           Code = "SINK_FENCED"
	SinkLoop             Code = "SINK_LOOP"
	SinkMismatch         Code = "SINK_MISMATCH"
	SinkMode             Code = "SINK_MODE"
	SinkShared           Code = "SINK_SHARED"
	SinkUnreachable      Code = "SINK_UNREACHABLE"
	SlotOverlap          Code = "SLOT_OVERLAP"
	SourceReplaced       Code = "SOURCE_REPLACED"
	SourceTaken          Code = "SOURCE_TAKEN"
	SourceUnreachable    Code = "SOURCE_UNREACHABLE"
	SQLInvalid           Code = "SQL_INVALID"
	StateCorrupt         Code = "STATE_CORRUPT"
	UnexpectedToken      Code = "UNEXPECTED_TOKEN"
	UnknownColumn        Code = "UNKNOWN_COLUMN"
	UnknownConnector     Code = "UNKNOWN_CONNECTOR"
	UnknownName          Code = "UNKNOWN_NAME"
	UnknownOption        Code = "UNKNOWN_OPTION"
	UpdateUnsupported    Code = "UPDATE_UNSUPPORTED"
	Usage                Code = "USAGE"
	WindowInvalid        Code = "WINDOW_INVALID"
)

// Description says what a code means, and how the process exits on it.
type Description struct {
	Code    Code
	Exit    Exit
	Meaning string
}

// Codes returns every code in ascending order.
func Codes() []Description {
	return []Description{
		{AggregateUnsupported, ExitSQL, "an aggregate is used in a way a stream can not compute yet"},
		{AppendNeedsWatermark, ExitSQL, "append mode would never emit this aggregate, because no watermark closes its groups"},
		{BadCron, ExitSQL, "a cron expression or its time zone can not be read, or it never comes due"},
		{BadName, ExitSQL, "a name is reserved or has characters that are not allowed"},
		{BadOption, ExitSQL, "an option's value has the wrong type or is out of bounds"},
		{BadTime, ExitUsage, "a time on the command line can not be read, or bounds nothing"},
		{BadType, ExitSQL, "a column type is unknown to DuckDB or not allowed here"},
		{BadVariable, ExitUsage, "a ${VARIABLE} is not set and has no default"},
		{BadWatermark, ExitSQL, "WATERMARK FOR names no TIMESTAMP column of the source, or its delay is not a constant"},
		{BatchFailed, ExitFailed, "a batch failed and trying again did not help"},
		{BodyNotSelect, ExitSQL, "the body of a query is not exactly one SELECT"},
		{CheckpointLocked, ExitState, "another process owns the query's directory"},
		{CheckpointUnusable, ExitState, "the query's directory was written by another version or is incomplete"},
		{CompleteNeedsAgg, ExitSQL, "complete mode needs an aggregate"},
		{ConservationBroken, ExitFailed, "rows in do not equal rows used, filtered, late, without time and dead-lettered"},
		{DataDirUnusable, ExitUsage, "the data directory can not be made"},
		{DataLoss, ExitState, "the source no longer holds rows that the query has yet to read, or gives other rows than before"},
		{DecodeFailed, ExitFailed, "a payload does not decode and the source says on_error = 'fail'"},
		{DiskFull, ExitFailed, "the disk is full"},
		{DuplicateColumn, ExitSQL, "two columns have the same name"},
		{DuplicateName, ExitSQL, "a name is defined twice"},
		{FunctionRefused, ExitSQL, "a function's result would not be the same when a batch runs again, or it reaches outside"},
		{Internal, ExitFailed, "a fault of Tidemill itself"},
		{JoinUnsupported, ExitSQL, "a join of this kind can not run on a stream"},
		{LimitUnsupported, ExitSQL, "LIMIT can not be used here on a stream"},
		{LogCorrupt, ExitState, "the log is damaged inside acknowledged data"},
		{MissingOption, ExitSQL, "a required option is missing"},
		{NoStream, ExitSQL, "the query reads no source"},
		{OrderByUnsupported, ExitSQL, "ORDER BY can not be used here on a stream"},
		{OutputFailed, ExitFailed, "standard output can not be written"},
		{OutOfMemory, ExitFailed, "a batch needs more memory than memory_limit allows"},
		{PlanChanged, ExitState, "the query differs from the one its checkpoint was written by"},
		{ReadFailed, ExitFailed, "a file or a source's data can not be read"},
		{RowFault, ExitFailed, "a row makes the query fail"},
		{SecretUnavailable, ExitUsage, "a secret's environment variable or file is not there"},
		{ShapeUnsupported, ExitSQL, "this shape of query is not supported on a stream yet"},
		{SinkFailed, ExitFailed, "a sink refused a batch"},
		{SinkFenced, ExitState, "a newer owner has taken over the sink"},
		{SinkLoop, ExitSQL, "a query would read its own output"},
		{SinkMismatch, ExitState, "the sink does not hold what the log says was delivered"},
		{SinkMode, ExitSQL, "the sink can not hold results of this output mode"},
		{SinkShared, ExitSQL, "two sinks or queries would write to a place that takes one sink of one query only"},
		{SinkUnreachable, ExitUnreachable, "a sink can not be reached"},
		{SlotOverlap, ExitState, "a slot overlaps other slots of the query whose rows the sinks hold"},
		{SourceReplaced, ExitState, "the source is not the one the query began with"},
		{SourceTaken, ExitUsage, "another consumer takes the messages of the work-queue stream already"},
		{SourceUnreachable, ExitUnreachable, "a source can not be reached"},
		{SQLInvalid, ExitSQL, "DuckDB refuses the SQL"},
		{StateCorrupt, ExitState, "a state version, or another file of a query's directory, is damaged"},
		{UnexpectedToken, ExitSQL, "a statement can not be parsed"},
		{UnknownColumn, ExitSQL, "a column does not exist"},
		{UnknownConnector, ExitSQL, "a connector does not exist"},
		{UnknownName, ExitSQL, "a source, sink, table or query is not defined"},
		{UnknownOption, ExitSQL, "an option does not exist"},
		{UpdateUnsupported, ExitSQL, "update mode can not be used with this query"},
		{Usage, ExitUsage, "the command line is wrong"},
		{WindowInvalid, ExitSQL, "the arguments of a window are wrong"},
	}
}

// ExitOf returns the exit code that err asks for: that of its first coded error, else ExitFailed.
func ExitOf(err error) Exit {
	if err == nil {
		return ExitOK
	}
	code := CodeOf(err)
	for _, d := range Codes() {
		if d.Code == code {
			return d.Exit
		}
	}
	return ExitFailed
}
