package jetstream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
)

func TestLogins(t *testing.T) {
	for _, login := range testkit.Logins(t) {
		t.Run(login.Name, func(t *testing.T) {
			srv := testkit.StartNATS(t, login.Server)
			srv.LogIn(login.Good)
			f := newFixture(t, srv.URL(), testkit.Options(login.Good))
			f.write(f.open(), 0, 1)
			require.Equal(t, []int64{1}, rows(t, srv))
			for _, wrong := range login.Wrong {
				f = newFixture(t, srv.URL(), testkit.Options(wrong))
				err := f.make().Open(t.Context(), f.owner)
				requireCode(t, diag.SinkUnreachable, err)
				require.False(t, diag.Temporary(err))
				require.Contains(t, diag.Render(err), login.Hint)
				for _, secret := range login.Secrets {
					require.NotContains(t, diag.Render(err)+err.Error(), secret)
				}
			}
		})
	}
}
