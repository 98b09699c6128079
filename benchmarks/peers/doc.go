// Package peers runs Tidemill beside other engines on the same machine, over the same files, doing the same work.
//
// A suite makes its input once, as files. Each contender (Tidemill as `tidemill run`, Spark Structured Streaming, plain
// DuckDB, and others that are installed) then works on them as a process of its own, one after another, in rounds that
// take turns. All are measured from outside and in the same way: CPU time and memory over the whole group of processes,
// batches by the progress that each reports. Every output is read back and compared with what plain DuckDB gives for
// the same files; a contender whose output differs gets no figure.
//
// A contender that is not Tidemill is a script in a folder beside this package, which a virtual environment of Python
// runs. It gets a Job as JSON on its standard input and says what it does as JSON lines on its standard output:
//
//	{"event":"ready","version":"4.3.0"}                 the engine has started
//	{"event":"start"}                                   warm-up is over, the measured query starts
//	{"batchId":0,"timestamp":…,"batchDuration":…,"numInputRows":…}   a batch was committed; Spark's own words, which
//	                                                    are Tidemill's too
//	{"event":"done"}                                    the output is complete
//	{"event":"refused","code":…,"message":…}            it can not run this query
//
// After done it waits for the end of its standard input, so that it can be measured while it still lives. In a job that
// follows, rows go on arriving: the end of standard input is then what ends the query, before done.
//
// Nothing here is needed to build or test Tidemill.
package peers
