package nexmark

import "strings"

// FlinkPerCore returns how many events a second and core Flink does of a query, as the README of the suite says of 8
// task managers, 100 M events at 10 M a second, and a sink that drops its rows; 0 if it says nothing. q5_join and
// q7_join are the queries as the suite writes them.
func FlinkPerCore(query string) float64 {
	name, _, _ := strings.Cut(query, "_")
	return 1000 * map[string]float64{
		"q0": 155, "q1": 158, "q2": 175, "q3": 152, "q4": 34, "q5": 22, "q7": 12.3, "q8": 146, "q9": 14, "q10": 58,
		"q11": 40, "q12": 76, "q13": 131, "q14": 161, "q15": 72, "q16": 18.7, "q17": 117, "q18": 54, "q19": 44,
		"q20": 19, "q21": 98, "q22": 130,
	}[name]
}
