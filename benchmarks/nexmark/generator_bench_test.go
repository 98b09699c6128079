package nexmark_test

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
)

func newGenerator(t testing.TB, c nexmark.Config) *nexmark.Generator {
	t.Helper()
	g, err := nexmark.New(c)
	require.NoError(t, err)
	return g
}

func BenchmarkEvent(b *testing.B) {
	g := newGenerator(b, nexmark.Config{})
	var e nexmark.Event
	k := int64(0)
	for b.Loop() {
		g.Event(k, &e)
		k++
	}
}

func BenchmarkJSON(b *testing.B) {
	g := newGenerator(b, nexmark.Config{})
	var e nexmark.Event
	var line []byte
	k := int64(0)
	for b.Loop() {
		g.Event(k, &e)
		line = nexmark.AppendJSON(line[:0], &e)
		b.SetBytes(int64(len(line)))
		k++
	}
}

func BenchmarkArrow(b *testing.B) {
	const batch = 10_000
	g := newGenerator(b, nexmark.Config{})
	build := nexmark.NewBuilders(memory.DefaultAllocator)
	defer build.Release()
	var e nexmark.Event
	k := int64(0)
	for b.Loop() {
		g.Event(k, &e)
		build.Append(&e)
		if k++; k%batch == 0 {
			for _, kind := range nexmark.Kinds() {
				build.Record(kind).Release()
			}
		}
	}
}
