package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/sinks/letters"
)

func TestPublishedLettersFitAMessage(t *testing.T) {
	t.Parallel()
	short := letters.Letter{Payload: []byte("{"), Row: []byte(`{"a":1}`), Reason: "no"}
	require.Equal(t, short, published(short))
	long := published(letters.Letter{Payload: make([]byte, publishedBytes+1), Row: make([]byte, 10_000_000), Reason: "no"})
	require.Nil(t, long.Payload)
	require.Nil(t, long.Row)
	require.Equal(t, "no (the payload of 65537 bytes and the row of 10000000 bytes is in dead_letters alone)", long.Reason)
}

func TestReasonsAreShort(t *testing.T) {
	t.Parallel()
	require.Equal(t, "as it is", shortReason("as it is"))
	require.Equal(t, strings.Repeat("ü", 1000)+"… (5000 characters)", shortReason(strings.Repeat("ü", 5000)))
}
