package yahoo

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEvents asks that events are what every report says they are: the fields of the benchmark in their order, the
// same for the same seed, a third of them views, every ad with a campaign, and none later than Disorder.
func TestEvents(t *testing.T) {
	t.Parallel()
	e, other := New(7, 10_000), New(8, 10_000)
	var table bytes.Buffer
	require.NoError(t, e.WriteCampaigns(&table))
	campaignOf := map[string]string{}
	names := map[string]int{}
	for line := range bytes.Lines(table.Bytes()) {
		var row struct {
			Ad       string `json:"ad_id"`
			Campaign string `json:"campaign_id"`
		}
		require.NoError(t, json.Unmarshal(line, &row))
		campaignOf[row.Ad] = row.Campaign
		names[row.Campaign]++
	}
	require.Len(t, campaignOf, 1000)
	require.Len(t, names, 100)

	most, views, used := time.Time{}, 0, map[string]int{}
	const count = 30_000
	for n := range int64(count) {
		row := e.Append(nil, n)
		require.GreaterOrEqual(t, len(row), 245, "%s", row)
		require.LessOrEqual(t, len(row), 261, "%s", row)
		require.Equal(t, row, e.Append(nil, n))
		require.NotEqual(t, row, other.Append(nil, n))
		var got struct {
			User  string `json:"user_id"`
			Ad    string `json:"ad_id"`
			Event string `json:"event_type"`
			Time  string `json:"event_time"`
		}
		require.NoError(t, json.Unmarshal(row, &got))
		require.Len(t, got.User, 36)
		require.Contains(t, campaignOf, got.Ad)
		used[got.Ad]++
		if got.Event == "view" {
			views++
		}
		at, err := time.Parse("2006-01-02T15:04:05.000", got.Time)
		require.NoError(t, err)
		require.Less(t, most.Sub(at), Disorder+time.Millisecond)
		if at.After(most) {
			most = at
		}
	}
	require.Len(t, used, 1000, "every ad is seen")
	require.InDelta(t, count/3, views, count/50)
}
