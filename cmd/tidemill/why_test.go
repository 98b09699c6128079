package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
)

// TestRoles asks which source is said to hold the watermark back, or to lead it.
func TestRoles(t *testing.T) {
	t.Parallel()
	const second = 1_000_000
	at := func(seconds int64) *int64 { us := seconds * second; return &us }
	for name, c := range map[string]struct {
		policy  string
		sources []*whySource
		held    string
		roles   []string
	}{
		"one": {"min", []*whySource{{Name: "a", timed: true, at: at(5)}, {Name: "b"}},
			"a", []string{"gives the watermark", "has no watermark"}},
		"least": {"min", []*whySource{{Name: "a", timed: true, at: at(9)}, {Name: "b", timed: true, at: at(2)},
			{Name: "c", timed: true, at: at(4)}},
			"b", []string{"", "holds the watermark back: 2s behind c", ""}},
		"least first": {"min", []*whySource{{Name: "a", timed: true, at: at(1)}, {Name: "b", timed: true, at: at(3)},
			{Name: "c", timed: true, at: at(2)}},
			"a", []string{"holds the watermark back: 1s behind c", "", ""}},
		"idle": {"min", []*whySource{{Name: "a", timed: true, at: at(1), Idle: true}, {Name: "b", timed: true, at: at(2)}},
			"b", []string{"idle: does not count", "holds the watermark back"}},
		"unknown": {"min", []*whySource{{Name: "a", timed: true, at: at(1)}, {Name: "b", timed: true}},
			"b", []string{"", "has had no event time yet, holds the watermark back"}},
		"level": {"min", []*whySource{{Name: "a", timed: true, at: at(1)}, {Name: "b", timed: true, at: at(1)}},
			"a", []string{"holds the watermark back, as does b", ""}},
		"greatest": {"max", []*whySource{{Name: "a", timed: true, at: at(1)}, {Name: "b", timed: true, at: at(8)},
			{Name: "c", timed: true}},
			"b", []string{"", "leads: 7s ahead of a", "has had no event time yet"}},
		"none": {"min", []*whySource{{Name: "a"}}, "", []string{"has no watermark"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &whyReport{Policy: &c.policy, Sources: c.sources}
			r.roles()
			require.Equal(t, c.held, or(r.HeldBy, ""))
			for i, s := range c.sources {
				require.Equal(t, c.roles[i], s.Role, s.Name)
			}
		})
	}
}

// TestSince asks for the batch that moved a value last.
func TestSince(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	log := func(first int64, watermarks ...int64) *stored {
		s := &checkpoint.Summary{}
		for i, wm := range watermarks {
			c := &checkpoint.Commit{}
			if wm != 0 {
				c.Watermark = &wm
			}
			s.Batches = append(s.Batches, checkpoint.Replay{Commit: c, Intent: checkpoint.Intent{Batch: first + int64(i),
				Time: begin.Add(time.Duration(i) * time.Minute)}})
		}
		s.Batches = append(s.Batches, checkpoint.Replay{Intent: checkpoint.Intent{Batch: first + int64(len(watermarks))}})
		return &stored{sum: s}
	}
	for name, c := range map[string]struct {
		st   *stored
		want string
	}{
		"moved":            {log(0, 1, 2, 3), "2026-01-01T00:02:00Z"},
		"stands":           {log(0, 1, 2, 2, 2), "2026-01-01T00:01:00Z"},
		"from the start":   {log(0, 2, 2), "2026-01-01T00:00:00Z"},
		"longer than that": {log(7, 2, 2), ""},
		"was unknown":      {log(0, 0, 2, 2), "2026-01-01T00:01:00Z"},
		"is unknown":       {log(0, 0, 0), ""},
		"no batch":         {log(0), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.st.since(func(i int) *int64 { return c.st.sum.Batches[i].Commit.Watermark })
			require.Equal(t, c.want, or(got, ""))
		})
	}
}
