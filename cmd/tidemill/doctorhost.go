package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// checkDataDir writes and syncs as the log does, and looks at the free space.
func (e *env) checkDataDir(dir string) []check {
	c := check{name: "data dir", exit: diag.ExitFailed}
	bad := func(err error) []check {
		c.state, c.detail = failing, fmt.Sprintf("%s: %v", dir, reasonOf(err))
		c.fix = "choose a directory that this user may write with --data-dir or TIDEMILL_DATA_DIR"
		return []check{c}
	}
	_, err := os.Stat(dir)
	fresh := os.IsNotExist(err)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return bad(err)
	}
	probe, err := os.MkdirTemp(dir, ".doctor-")
	if err != nil {
		return bad(err)
	}
	defer func() {
		_ = os.RemoveAll(probe)
		if fresh {
			_ = os.Remove(dir)
		}
	}()
	sync, err := e.syncTime(filepath.Join(probe, "probe"))
	if err != nil {
		return bad(err)
	}
	c.state, c.detail = healthy, fmt.Sprintf("%s is writable, a sync takes %.2f ms", dir,
		float64(sync.Microseconds())/1000)
	if sync > 20*time.Millisecond {
		c.state, c.fix = warning, "each batch waits for a sync: a local SSD is faster"
	}
	return []check{c, checkDisk(probe)}
}

// syncTime is the median time of a small synced write.
func (e *env) syncTime(path string) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err //nolint:wrapcheck // the caller words it
	}
	defer func() { _ = f.Close() }() // a probe
	times := make([]time.Duration, 11)
	for i := range times {
		start := e.clock.Now()
		if _, err := f.WriteString("probe\n"); err != nil {
			return 0, err //nolint:wrapcheck // the caller words it
		}
		if err := f.Sync(); err != nil {
			return 0, err //nolint:wrapcheck // the caller words it
		}
		times[i] = e.clock.Now().Sub(start)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[len(times)/2], nil
}

func checkDisk(dir string) check {
	c := check{name: "disk", exit: diag.ExitFailed}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		c.state, c.detail = warning, "free space is not known: "+err.Error()
		return c
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // their types differ between machines
	c.state, c.detail = healthy, human(free)+" free"
	switch {
	case free < 100<<20:
		c.state, c.fix = failing, "free some space: the log stops when the disk is full, and loses nothing"
	case free < 2<<30:
		c.state, c.fix = warning, "state, spilled data and files need room; free some space"
	}
	const nfs, smb2, cifs = 0x6969, 0xfe534d42, 0xff534d42
	if kind := uint32(st.Type); kind == nfs || kind == smb2 || kind == cifs { //nolint:gosec // magic numbers have 32 bits
		c.state, c.fix = warning, "the data dir is on a network file system, whose locks may not hold: use a local disk"
	}
	return c
}

func checkMemory() check {
	total := machineMemory()
	c := check{name: "memory", state: healthy, detail: fmt.Sprintf("%s, of which queries share %s",
		human(total), human(total/2))}
	if total < 512<<20 {
		c.state, c.fix = warning, "less than 512 MiB is little for DuckDB; give the container more"
	}
	return c
}

// checkClock compares the clock with the newest batch of the data dir: one that went back confuses time windows.
func (e *env) checkClock(dataDir string) check {
	now := e.clock.Now()
	c := check{name: "clock", state: healthy, detail: stamp(now.Truncate(time.Second))}
	names, err := queriesOf(dataDir)
	if err != nil {
		return c // there is no data dir yet
	}
	for _, name := range names {
		s, err := checkpoint.Inspect(vfs.OS{}, engine.DataDirOf(dataDir, name))
		if err != nil {
			return check{name: "queries", state: failing, detail: fmt.Sprintf("%s: %v", name, err),
				exit: diag.ExitOf(err),
				fix:  "look with tidemill checkpoint verify " + name}
		}
		if s.LastIntent != nil && s.LastIntent.Time.After(now.Add(time.Minute)) {
			c.state = warning
			c.detail += fmt.Sprintf(", but the last batch of %s ran at %s", name, stamp(s.LastIntent.Time))
			c.fix = "set the clock; chrony or systemd-timesyncd keep it right"
		}
	}
	return c
}
