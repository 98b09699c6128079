package wal_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/wal"
)

// sample is a log of two segments, with or without a clean stop.
func sample(t *testing.T, clean bool) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	l, _ := open(t, m)
	for i := range 4 {
		_, err := l.Append(entry(i), entry(i+50))
		require.NoError(t, err)
		require.NoError(t, l.Sync())
		if i == 1 {
			require.NoError(t, l.Rotate(entry(10)))
		}
	}
	if clean {
		require.NoError(t, l.Close())
	}
	return m
}

func refill(t *testing.T, all map[string]string) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll(dir))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		require.NoError(t, vfs.WriteFile(m, filepath.Join(dir, name), []byte(all[name])))
	}
	return m
}

func requireRefused(t *testing.T, m *vfs.Mem, path string) *wal.CorruptError {
	t.Helper()
	before := files(t, m)
	_, _, err := wal.Open(options(m))
	var c *wal.CorruptError
	require.ErrorAs(t, err, &c)
	require.Equal(t, diag.LogCorrupt, diag.CodeOf(err))
	require.Equal(t, path, filepath.Base(c.Path))
	require.Equal(t, before, files(t, m), "nothing is changed")
	return c
}

// TestEveryBitFlip flips every bit of a small log: it is refused, wherever the bit is, also in the last
// frame, since its entries have no sectors of zeros.
func TestEveryBitFlip(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		whole := files(t, sample(t, clean))
		for name, data := range whole {
			for bit := range len(data) * 8 {
				flipped := []byte(data)
				flipped[bit/8] ^= 1 << (bit % 8)
				all := maps.Clone(whole)
				all[name] = string(flipped)
				c := requireRefused(t, refill(t, all), name)
				require.LessOrEqual(t, c.Offset, int64(bit/8))
				require.Less(t, int64(bit/8)-c.Offset, int64(700), "the frame is named")
			}
		}
	}
}

// TestZeroedSectors wipes out each sector: only one of the last frame can be taken for a torn write.
func TestZeroedSectors(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		whole := files(t, sample(t, clean))
		for name, data := range whole {
			for from := 0; from < len(data); from += 512 {
				to := min(from+512, len(data))
				all := maps.Clone(whole)
				all[name] = data[:from] + strings.Repeat("\x00", to-from) + data[to:]
				m := refill(t, all)
				_, r, err := wal.Open(options(m))
				if err != nil {
					continue
				}
				require.Equal(t, len(data), to, "only the end of the last segment can be cut")
				require.NotNil(t, r.Torn)
				require.GreaterOrEqual(t, r.Entries, 5)
			}
		}
	}
}

func TestDamageBeforeLaterFrames(t *testing.T) {
	t.Parallel()
	const name = "wal-0000000000000001.log"
	m := vfs.NewMem()
	l, _ := open(t, m)
	var starts []int64
	for i := range 3 {
		starts = append(starts, l.SegmentSize())
		_, err := l.Append(entry(i + 20))
		require.NoError(t, err)
		if i == 1 {
			require.NoError(t, l.Sync())
		}
	}
	whole := files(t, m)[name]
	lose := func(frame int) *vfs.Mem {
		from, to := starts[frame], starts[frame+1]
		zeros := strings.Repeat("\x00", int(to-from))
		return refill(t, map[string]string{name: whole[:from] + zeros + whole[to:]})
	}
	c := requireRefused(t, lose(1), name)
	require.Equal(t, starts[1], c.Offset)
	require.ErrorContains(t, c, "which a later frame says was durable")
	require.ErrorContains(t, c, "frame 2")
	requireRefused(t, lose(0), name)

	// Nothing says that a frame was durable if the ones behind it were written before the next sync.
	m = vfs.NewMem()
	l, _ = open(t, m)
	for i := range 3 {
		_, err := l.Append(entry(i + 20))
		require.NoError(t, err)
	}
	whole = files(t, m)[name]
	_, r := open(t, lose(1))
	require.Equal(t, 1, r.Entries)
	require.Equal(t, starts[1], r.Torn.Offset)
}

func TestDamagedStructure(t *testing.T) {
	t.Parallel()
	const first, second = "wal-0000000000000001.log", "wal-0000000000000004.log"
	m := sample(t, true)
	l, _ := open(t, m)
	require.NoError(t, l.Rotate(entry(1)))
	require.NoError(t, l.Close())
	whole := files(t, m)
	_, ok := whole[second]
	require.False(t, ok)
	names := slices.Sorted(maps.Keys(whole))
	require.Len(t, names, 3)

	cases := map[string]func(all map[string]string) (damaged string){
		"segment missing": func(all map[string]string) string {
			delete(all, names[1])
			return names[2]
		},
		"older segment cut at a frame's edge": func(all map[string]string) string {
			report, err := wal.Verify(m, dir)
			require.NoError(t, err)
			require.Len(t, report.Segments, 3)
			all[names[0]] = all[names[0]][:64]
			return names[1]
		},
		"older segment cut in a frame": func(all map[string]string) string {
			all[names[0]] = all[names[0]][:80]
			return names[0]
		},
		"header cut": func(all map[string]string) string {
			all[names[2]] = all[names[2]][:63]
			return names[2]
		},
		"empty file": func(all map[string]string) string {
			all[names[0]] = ""
			return names[0]
		},
		"renamed": func(all map[string]string) string {
			all["wal-0000000000000009.log"] = all[names[0]]
			clear(all)
			all["wal-0000000000000009.log"] = whole[names[0]]
			return "wal-0000000000000009.log"
		},
		"not a log": func(all map[string]string) string {
			all[names[0]] = strings.Repeat("text", 100)
			return names[0]
		},
		"frame twice": func(all map[string]string) string {
			all[names[2]] += all[names[2]][64:]
			return names[2]
		},
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			all := maps.Clone(whole)
			damaged := damage(all)
			requireRefused(t, refill(t, all), damaged)
		})
	}
}

// TestFrameOfAnotherLife puts a frame of a copy of the log, which went another way, behind frames of this
// one.
func TestFrameOfAnotherLife(t *testing.T) {
	t.Parallel()
	const name = "wal-0000000000000001.log"
	life := func(batch int64) (data string, end int64) {
		m := vfs.NewMem()
		l, _ := open(t, m)
		_, err := l.Append(wal.Entry{Batch: batch, Payload: []byte("first")})
		require.NoError(t, err)
		require.NoError(t, l.Sync())
		end = l.SegmentSize()
		_, err = l.Append(wal.Entry{Batch: 3, Payload: []byte("second")})
		require.NoError(t, err)
		return files(t, m)[name], end
	}
	one, end := life(1)
	two, _ := life(2)
	c := requireRefused(t, refill(t, map[string]string{name: one[:end] + two[end:]}), name)
	require.Equal(t, end, c.Offset)
	require.ErrorContains(t, c, "does not continue")
}

func TestVerifySaysHowFarItCame(t *testing.T) {
	t.Parallel()
	whole := files(t, sample(t, true))
	names := slices.Sorted(maps.Keys(whole))
	data := []byte(whole[names[1]])
	data[70] ^= 1
	whole[names[1]] = string(data)
	report, err := wal.Verify(refill(t, whole), dir)
	var c *wal.CorruptError
	require.ErrorAs(t, err, &c)
	require.EqualValues(t, 64, c.Offset)
	require.Len(t, report.Segments, 2)
	require.Equal(t, 4, report.Entries)
	require.Contains(t, diag.Render(err), "nothing was changed")
}

func TestPoison(t *testing.T) {
	t.Parallel()
	rules := map[string]vfs.Rule{
		"full disk":    {Op: vfs.OpWrite, Path: "wal-", Nth: 3, Err: syscall.ENOSPC, Short: 20},
		"failing sync": {Op: vfs.OpSync, Path: "wal-", Nth: 3, Err: syscall.EIO},
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := vfs.NewMem()
			f := vfs.NewFault(m, rule)
			l, _ := open(t, f)
			_, err := l.Append(entry(1))
			require.NoError(t, err)
			require.NoError(t, l.Sync())
			_, err = l.Append(entry(2))
			if err == nil {
				err = l.Sync()
			}
			require.ErrorIs(t, err, rule.Err)
			if rule.Err == syscall.ENOSPC { //nolint:errorlint // a constant of the table above
				require.Equal(t, diag.DiskFull, diag.CodeOf(err))
			}
			calls := f.Calls()
			_, again := l.Append(entry(3))
			require.Equal(t, err, again)
			require.Equal(t, err, l.Sync())
			require.Equal(t, err, l.Rotate())
			_, again = l.Trim(1)
			require.Equal(t, err, again)
			require.Equal(t, err, l.Read(0, nil))
			require.Equal(t, calls, f.Calls(), "nothing is tried again")
			require.ErrorIs(t, l.Close(), rule.Err)
			require.Equal(t, calls+1, f.Calls(), "Close closes and writes nothing")

			l, r := open(t, m)
			got := readAll(t, l)
			require.Equal(t, entry(1), got[0])
			require.Len(t, got, r.Entries)
			require.NoError(t, l.Close())
		})
	}
}
