package sqlfront

// volatileFunctions are DuckDB's functions whose result depends on more than their arguments. The table is
// ours, because the catalogue is wrong for some of them: age reads the clock, current_setting the session.
const volatileFunctions = " random uuid gen_random_uuid nextval currval setseed txid_current current_setting" +
	" current_query stats getvariable getenv pg_backend_pid in_search_path write_log" +
	" pg_conf_load_time pg_postmaster_start_time has_table_privilege inet_client_addr inet_server_addr" +
	" query query_table " + clockFunctions + contextFunctions

// clockFunctions read the clock; most of them may be called without parentheses.
const clockFunctions = " now today current_date current_time current_timestamp get_current_time" +
	" get_current_timestamp transaction_timestamp statement_timestamp clock_timestamp localtime localtimestamp" +
	" current_localtime current_localtimestamp "

// contextFunctions read the session; most of them may be called without parentheses.
const contextFunctions = " user current_user session_user current_role current_catalog current_database" +
	" current_schema current_schemas "

// volatileCall reports whether a call of a function with so many arguments is volatile.
func (r *reader) volatileCall(name string, args int) bool {
	folded := fold(name)
	return inWords(volatileFunctions, folded) || folded == "age" && args == 1 || r.volatile[folded]
}

// volatileWord reports whether a name that is no column is a volatile function without parentheses.
func volatileWord(name string) bool {
	return inWords(clockFunctions, name) || inWords(contextFunctions, name)
}
