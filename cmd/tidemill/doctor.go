package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
)

// The states of a check.
const (
	healthy = "ok"
	warning = "warn"
	failing = "FAIL"
)

// check is one finding of doctor.
type check struct {
	name, state, detail, fix string
	exit                     diag.Exit
}

func (e *env) doctorCommand() *cobra.Command {
	var f natsFlags
	var broker brokerFlags
	c := &cobra.Command{
		Use: "doctor",
		Short: "check this machine: versions, DuckDB, data dir, disk, memory, clock, and a NATS server if one is named or " +
			"brought along",
		Args: noArgs,
	}
	f.flags(c, e)
	broker.add(c)
	dataDir, form := e.reading(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		_, inEnv := e.getenv("NATS_URL")
		named := inEnv || c.Flags().Changed("url")
		return e.doctor(c.Context(), doctorOptions{dataDir: *dataDir, form: chosen, nats: f, named: named, broker: broker})
	}
	return c
}

type doctorOptions struct {
	dataDir string
	form    string
	nats    natsFlags
	named   bool // there is a server at the address of nats
	broker  brokerFlags
}

// doctor prints every check and fails with the exit code of the first that does.
func (e *env) doctor(ctx context.Context, o doctorOptions) error {
	checks := []check{e.checkVersions(), checkDuckDB(ctx, e)}
	checks = append(checks, e.checkDataDir(o.dataDir)...)
	checks = append(checks, checkMemory(), e.checkClock(o.dataDir))
	if o.named || o.broker.embedded {
		checks = append(checks, e.checkNATS(ctx, o)...)
	}
	l := listing{columns: []string{"check", "state", "detail", "fix"}}
	exit := diag.ExitOK
	for _, c := range checks {
		l.add(c.name, c.state, c.detail, c.fix)
		if c.state == failing && exit == diag.ExitOK {
			exit = c.exit
		}
	}
	if o.form == "table" {
		e.tellChecks(checks)
	} else if err := l.print(e.stdout, o.form); err != nil {
		return err
	}
	if exit != diag.ExitOK {
		return exitError{exit}
	}
	return nil
}

// tellChecks prints a line for each check, and below it how to mend what is not well.
func (e *env) tellChecks(checks []check) {
	for _, c := range checks {
		fmt.Fprintf(e.stdout, "%-5s %-15s %s\n", c.state, c.name, plain(c.detail))
		if c.state != healthy && c.fix != "" {
			fmt.Fprintf(e.stdout, "%-5s %-15s %s\n", "", "", "fix: "+plain(c.fix))
		}
	}
}

func (e *env) checkVersions() check {
	libs := libraries()
	parts := []string{"tidemill " + version()}
	for _, name := range sortedNames(libs) {
		parts = append(parts, name+" "+libs[name])
	}
	return check{name: "versions", state: healthy, detail: strings.Join(parts, ", ")}
}

// checkDuckDB opens a database, which runs the driver's self-test, and has it compute something exact.
func checkDuckDB(ctx context.Context, e *env) check {
	c := check{name: "duckdb", exit: diag.ExitFailed,
		fix: "install the release binary for this machine, or build it with its own gcc and g++"}
	start := e.clock.Now()
	err := withDuck(ctx, func(conn *duck.Conn) error {
		rows, err := conn.Rows(ctx,
			"SELECT version(), CAST(sum(i::DECIMAL(18,2) / 4) AS VARCHAR) FROM range(100) t(i)")
		if err != nil {
			return fmt.Errorf("run a statement: %w", err)
		}
		c.detail = fmt.Sprintf("%v, self-test %d ms", rows[0][0], e.clock.Now().Sub(start).Milliseconds())
		if sum := fmt.Sprint(rows[0][1]); !strings.HasPrefix(sum, "1237.5") {
			return fmt.Errorf("0.25 + … + 24.75 is %s here", sum)
		}
		return nil
	})
	if err != nil {
		c.state, c.detail = failing, err.Error()
		return c
	}
	c.state, c.fix = healthy, ""
	return c
}

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

// checkNATS asks the server, the embedded one unless another is named, what a source and a sink need.
func (e *env) checkNATS(ctx context.Context, o doctorOptions) []check {
	if o.named {
		o.broker.embedded = false // it would not be asked
	}
	stop, err := e.embedNATS(o.broker, o.dataDir)
	if err != nil {
		return []check{noNATS(err)}
	}
	defer stop()
	if v, ok := e.getenv("NATS_URL"); ok && !o.named {
		o.nats.url = v // of the embedded server
	}
	client, conn, err := e.connect(ctx, "tidemill doctor", o.nats)
	if err != nil {
		return []check{noNATS(err)}
	}
	defer client.Close()
	c := check{name: "nats", state: healthy}
	c.detail = fmt.Sprintf("%s, version %s, largest message %s", client.Address(),
		conn.ConnectedServerVersion(), human(conn.MaxPayload()))
	if rtt, err := conn.RTT(); err == nil {
		c.detail += fmt.Sprintf(", round trip %.2f ms", float64(rtt.Microseconds())/1000)
	}
	js := check{name: "jetstream", exit: diag.ExitUnreachable}
	api, err := jetstream.New(conn)
	if err == nil {
		var info *jetstream.AccountInfo
		if info, err = api.AccountInfo(ctx); err == nil {
			js.state, js.detail = healthy, fmt.Sprintf("%s, %s stored", plural(int64(info.Streams), "stream"),
				human(int64(info.Store))) //nolint:gosec // far below 2^63
		}
	}
	if err != nil {
		js.state, js.detail, js.fix = failing, err.Error(), "start the server with JetStream (nats-server -js), or enable it for the account"
	}
	return []check{c, js, checkAtomic(conn.ConnectedServerVersion())}
}

// noNATS says why there is no server to ask.
func noNATS(err error) check {
	c := check{name: "nats", state: failing, detail: err.Error(), fix: "start the server there, or correct --url",
		exit: diag.ExitOf(err)}
	if all := diag.All(err); len(all) > 0 {
		c.detail, c.fix = all[0].Message, all[0].Hint
	}
	return c
}

// checkAtomic says which protocol the jetstream sink will use.
func checkAtomic(serverVersion string) check {
	c := check{name: "atomic batches", state: healthy, detail: "the server publishes a batch in one step"}
	if !atLeast(serverVersion, 2, 12) {
		c.state = warning
		c.detail = "the server is older than 2.12: jetstream sinks fall back to message ids"
		c.fix = "upgrade the server to 2.12 or later"
	}
	return c
}

func atLeast(v string, major, minor int) bool {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}

// human writes a number of bytes in the largest unit that keeps it above one.
func human(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
