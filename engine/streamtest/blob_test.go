package streamtest

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"
)

func TestBlobIsComparedAsCast(t *testing.T) {
	t.Parallel()
	for expected, bytes := range map[string]string{"x": "x", `\x00\xfFa`: "\x00\xffa", `a\x5Cx41`: `a\x41`, `\x`: `\x`, `\xZZ`: `\xZZ`, "": ""} {
		require.Equal(t, cell(arrow.BinaryTypes.Binary, []byte(bytes)), cell(arrow.BinaryTypes.Binary, expected), expected)
	}
	require.NotEqual(t, cell(arrow.BinaryTypes.Binary, []byte{0}), cell(arrow.BinaryTypes.Binary, "0"))
	require.Equal(t, `'a\xC3\xBC\x27'`, text(cell(arrow.BinaryTypes.Binary, []byte("aü'"))))
}
