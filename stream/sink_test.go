package stream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// TestAcceptKnowsWhatTheLogDelivered goes through every way a stored marker can stand to what the log says.
func TestAcceptKnowsWhatTheLogDelivered(t *testing.T) {
	t.Parallel()
	mark := func(query string, epoch uint64, batch int64, crc uint32) *stream.Marker {
		return &stream.Marker{Query: query, Epoch: epoch, Batch: batch, IntentCRC: crc}
	}
	for name, c := range map[string]struct {
		last, pending, found *stream.Marker
		takeOver             bool
		code                 diag.Code
	}{
		"a new query and an empty sink":            {},
		"the last batch":                           {last: mark("me", 1, 7, 1), found: mark("me", 1, 7, 1)},
		"the last batch, an older epoch":           {last: mark("me", 2, 7, 1), found: mark("me", 1, 7, 1)},
		"the batch that was in flight":             {last: mark("me", 1, 7, 1), pending: mark("me", 2, 8, 2), found: mark("me", 1, 8, 2)},
		"opened, nothing delivered yet":            {found: mark("me", 1, -1, 0)},
		"another range under the pending number":   {last: mark("me", 1, 7, 1), pending: mark("me", 2, 8, 2), found: mark("me", 1, 8, 9), code: diag.SinkMismatch},
		"an older batch: the sink was restored":    {last: mark("me", 1, 7, 1), found: mark("me", 1, 6, 1), code: diag.SinkMismatch},
		"a newer batch: the data dir was restored": {last: mark("me", 1, 7, 1), found: mark("me", 1, 9, 1), code: diag.SinkMismatch},
		"another query":                            {found: mark("other", 1, 3, 1), code: diag.SinkMismatch},
		"an emptied sink":                          {last: mark("me", 1, 7, 1), code: diag.SinkMismatch},
		"a newer owner":                            {last: mark("me", 1, 7, 1), found: mark("me", 4, 7, 1), code: diag.SinkFenced},
		"anything at all, taken over":              {last: mark("me", 1, 7, 1), found: mark("other", 9, 3, 1), takeOver: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := stream.Owner{Query: "me", Name: "q", Epoch: 3, Last: c.last, Pending: c.pending, TakeOver: c.takeOver}
			require.Equal(t, c.code, diag.CodeOf(o.Accept("out", c.found)))
		})
	}
}

// TestLives tells an owner from one of a copied data dir, whatever their epochs.
func TestLives(t *testing.T) {
	t.Parallel()
	o := stream.Owner{Query: "me", Name: "q", Epoch: 3, Life: "c", Lives: []string{"a", "b", "c"}}
	o.Last = &stream.Marker{Query: "me", Epoch: 2, Batch: 7, IntentCRC: 1, Life: "b"}
	found := func(epoch uint64, life string) *stream.Marker {
		return &stream.Marker{Query: "me", Epoch: epoch, Batch: 7, IntentCRC: 1, Life: life}
	}
	many := o
	for range stream.LivesMax {
		many.Lives = append([]string{"z"}, many.Lives...)
	}
	for name, c := range map[string]struct {
		owner stream.Owner
		found *stream.Marker
		code  diag.Code
	}{
		"ours":                               {o, found(2, "b"), ""},
		"of before there were lives":         {o, found(2, ""), ""},
		"a copy in our epoch":                {o, found(3, "x"), diag.SinkMismatch},
		"a copy in an epoch of before":       {o, found(2, "x"), diag.SinkMismatch},
		"a copy that was started more often": {o, found(4, "x"), diag.SinkFenced},
		"perhaps a life that is forgotten":   {many, found(2, "x"), ""},
		"our epoch, lives forgotten":         {many, found(3, "x"), diag.SinkMismatch},
	} {
		require.Equal(t, c.code, diag.CodeOf(c.owner.Accept("out", c.found)), name)
		c.owner.TakeOver = true
		require.NoError(t, c.owner.Accept("out", c.found), name)
		require.Equal(t, "c", c.owner.Adopt(c.found).Life)
	}
	require.NoError(t, o.Alone("out", found(3, "x")), "a copy is no other sink of the query")
	require.ErrorContains(t, o.Alone("out", found(3, "c")), "another sink of query")
	require.NoError(t, o.Fenced("out", *found(3, "c")))
	for _, m := range []*stream.Marker{found(3, "x"), found(4, "x"), found(2, "b"), found(3, ""), {Query: "other", Epoch: 3, Life: "c"}} {
		require.Equal(t, diag.SinkFenced, diag.CodeOf(o.Fenced("out", *m)))
	}
}

func TestAlreadyAsksForAllButTheEpoch(t *testing.T) {
	t.Parallel()
	d := stream.Delivery{Marker: stream.Marker{Query: "me", Epoch: 2, Batch: 5, IntentCRC: 7}}
	require.True(t, d.Already(&stream.Marker{Query: "me", Epoch: 1, Batch: 5, IntentCRC: 7}))
	require.False(t, d.Already(&stream.Marker{Query: "me", Epoch: 2, Batch: 5, IntentCRC: 8}))
	require.False(t, d.Already(&stream.Marker{Query: "me", Epoch: 2, Batch: 4, IntentCRC: 7}))
	require.False(t, d.Already(nil))
}
