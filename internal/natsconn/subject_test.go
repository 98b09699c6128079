package natsconn_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		outer, inner string
		want         bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a.*", "a.b", true}, {"a.*", "a.b.c", false}, {"a.>", "a.b.c", true},
		{"a.>", "a", false}, {">", "a", true}, {"a.*", "a.>", false}, {"a.>", "a.*", true}, {"a.b", "a", false},
		{"a", "a.b", false}, {"*.b", "a.b", true}, {"a.b", "a.*", false},
	} {
		require.Equal(t, tt.want, natsconn.Covers(tt.outer, tt.inner), "%s %s", tt.outer, tt.inner)
	}
	require.True(t, natsconn.CoversAny([]string{"x", "a.>"}, "a.b"))
	require.False(t, natsconn.CoversAny(nil, "a"))
}

func TestValidNames(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "a.b.*", "a.>", ">", "*"} {
		require.True(t, natsconn.ValidSubject(s), s)
	}
	for _, s := range []string{"", "a.", ".a", "a..b", "a.>.b", "a b", "a*"} {
		require.False(t, natsconn.ValidSubject(s), s)
	}
	require.True(t, natsconn.ValidStream("ORDERS"))
	for _, s := range []string{"", "a.b", "a b", "a*", "a/b"} {
		require.False(t, natsconn.ValidStream(s), s)
	}
}

type options map[string]string

func (o options) Has(name string) bool          { _, ok := o[name]; return ok }
func (o options) String(name string) string     { return o[name] }
func (o options) Duration(string) time.Duration { return 0 }

func TestPasswordsInAddressesAreNotShown(t *testing.T) {
	t.Parallel()
	c, err := natsconn.New(natsconn.Config{
		What: "source", Code: diag.SourceUnreachable,
		Options: options{"url": "nats://joe:hunter2@127.0.0.1:1, nats://127.0.0.1:2"},
	})
	require.NoError(t, err)
	defer c.Close()
	require.NotContains(t, c.Address(), "hunter2")
	_, err = c.Conn(t.Context())
	require.Equal(t, diag.SourceUnreachable, diag.CodeOf(err))
	require.NotContains(t, diag.Render(err), "hunter2")
}
