package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every shape of the list is planned or refused with a code, a reason and a way out, in every mode.
func TestSupportDocNamesEveryShape(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv()
	doc, err := e.supportDoc(t.Context())
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(supportShapes), "\n") {
		if name, _, ok := strings.Cut(line, " | "); ok {
			require.Contains(t, doc, "| "+name+"<br>")
		}
	}
	refusals := doc[strings.Index(doc, "## Why a shape is refused"):]
	for _, line := range strings.Split(refusals, "\n")[4:] {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, ""), "|")
		if len(cells) > 4 {
			require.NotEmpty(t, strings.TrimSpace(cells[2]), line)
			require.NotEmpty(t, strings.TrimSpace(cells[3]), line)
		}
	}
}
