package file

import (
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestValidText cuts text everywhere, also in the middle of a character: what is valid as a whole is not so in its parts.
func TestValidText(t *testing.T) {
	t.Parallel()
	const text = "aé€😀z"
	for i := range len(text) + 1 {
		for j := i; j <= len(text); j++ {
			b := array.NewStringBuilder(memory.DefaultAllocator)
			parts := []string{text[:i], text[i:j], text[j:]}
			good := true
			for _, p := range parts {
				b.Append(p)
				b.AppendNull()
				good = good && utf8.ValidString(p)
			}
			whole := b.NewArray()
			b.Release()
			err := validText(whole, stream.Column{Name: "c"})
			require.Equal(t, good, err == nil, "%q: %v", parts, err)
			last := array.NewSlice(whole, 4, 6)
			require.Equal(t, utf8.ValidString(parts[2]), validText(last, stream.Column{Name: "c"}) == nil, "%q", parts[2])
			none := array.NewSlice(whole, 2, 2)
			require.NoError(t, validText(none, stream.Column{Name: "c"}))
			none.Release()
			last.Release()
			whole.Release()
		}
	}
}
