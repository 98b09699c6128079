package peers

import (
	"encoding/json"
	"regexp"
	"time"
)

// line is one line of a contender's standard output; see the package comment.
type line struct {
	Event   string `json:"event"`
	Version string `json:"version"`
	Code    string `json:"code"`
	Message string `json:"message"`

	BatchID  *int64    `json:"batchId"`
	Time     time.Time `json:"timestamp"`     // when the batch began
	Duration float64   `json:"batchDuration"` // in ms, until it was committed
	Rows     int64     `json:"numInputRows"`

	at time.Time // when the driver read it
}

// parseLine reads a line; ok is false for one that is something else, like a line of a log.
func parseLine(text []byte) (l line, ok bool) {
	if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &l) != nil {
		return line{}, false
	}
	return l, l.Event != "" || l.BatchID != nil
}

// end is when the batch was committed.
func (l *line) end() time.Time {
	return l.Time.Add(time.Duration(l.Duration * float64(time.Millisecond)))
}

// refusedCode finds the code of the first fault that Tidemill printed.
func refusedCode(stderr string) string {
	m := regexp.MustCompile(`error\[([A-Z_]+)\]`).FindStringSubmatch(stderr)
	if m == nil {
		return ""
	}
	return m[1]
}
