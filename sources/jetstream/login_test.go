package jetstream_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
)

func TestLogins(t *testing.T) {
	for _, login := range testkit.Logins(t) {
		t.Run(login.Name, func(t *testing.T) {
			s := testkit.StartNATS(t, login.Server)
			s.LogIn(login.Good)
			s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
			numbered(s, "s.a", 1, 3)
			good := open(t, s, testkit.Options(login.Good))
			require.Equal(t, counted(1, 3), payloads(read(t, good, 0, 3, "").Messages))
			for _, wrong := range login.Wrong {
				began := time.Now()
				_, _, err := open(t, s, testkit.Options(wrong)).Start(t.Context())
				requireCode(t, diag.SourceUnreachable, err)
				require.False(t, diag.Temporary(err))
				require.NotEmpty(t, diag.All(err)[0].Hint)
				require.Contains(t, diag.Render(err), login.Hint)
				require.Less(t, time.Since(began), 10*time.Second)
				for _, secret := range login.Secrets {
					require.NotContains(t, diag.Render(err)+err.Error(), secret)
				}
			}
		})
	}
}
