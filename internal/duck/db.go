package duck

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	duckdb "github.com/marcboeker/go-duckdb"
)

const (
	memoryLimitDefault = int64(1) << 30
	tempBytesDefault   = int64(16) << 30
)

// Options say what a database may do and use. The zero value is an unsealed one in memory.
type Options struct {
	// Sealed shuts files, network and extensions for good and locks the settings: the database for user SQL.
	// Not sealed is the loader: it runs only statements that the engine wrote.
	Sealed bool
	// Path is the database file; "" means in memory. Only the duckdb sink opens a file. It then must write
	// its own CHECKPOINTs after a look at free space, and must not Close after an Error of kind Fatal:
	// neither is done behind its back (no checkpoint at shutdown, automatic ones only from a WAL of 1 GB
	// on).
	Path string
	// MemoryLimit is in bytes; 0 means 1 GiB.
	MemoryLimit int64
	// Unsettled leaves the memory limit of a sealed database to be set once more, by Settle, which locks the settings
	// then: what a query may use is known when it has been planned.
	Unsettled bool
	// Threads is how many cores one statement may use; 0 means GOMAXPROCS.
	Threads int
	// TempDir is where data over MemoryLimit is spilled; "" means that it is an error of kind OutOfMemory.
	TempDir string
	// TempMax bounds what is spilled, in bytes; 0 means 16 GiB.
	TempMax int64
	// Overflow is where large results lie. The zero value is Go's memory.
	Overflow Overflow
	// Slack is how many bytes that DuckDB has freed its allocator may keep in memory, of all databases of the process; 0 is
	// no bound.
	Slack int64
	// Trace hears every statement before it runs, on the goroutine that runs it. For tests; nil for nobody.
	Trace func(sql string)
}

func (o Options) withDefaults() Options {
	if o.MemoryLimit == 0 {
		o.MemoryLimit = memoryLimitDefault
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.TempMax == 0 {
		o.TempMax = tempBytesDefault
	}
	return o
}

// Validate returns every problem of the options, joined.
func (o Options) Validate() error {
	var errs []error
	if o.MemoryLimit < 0 {
		errs = append(errs, fmt.Errorf("memory limit is %d bytes, expected 0 or more", o.MemoryLimit))
	}
	if o.Threads < 0 {
		errs = append(errs, fmt.Errorf("threads is %d, expected 0 or more", o.Threads))
	}
	if o.TempMax < 0 {
		errs = append(errs, fmt.Errorf("temp limit is %d bytes, expected 0 or more", o.TempMax))
	}
	// The driver takes the path for a URL: it cuts it at "?" and reads "%" as an escape.
	if strings.ContainsAny(o.Path, "?%\x00") {
		errs = append(errs, fmt.Errorf("database path %q holds ?, %% or NUL, which the driver cuts", o.Path))
	}
	if strings.Contains(o.TempDir, "\x00") {
		errs = append(errs, fmt.Errorf("temp directory %q holds a NUL byte", o.TempDir))
	}
	return errors.Join(errs...)
}

// settings returns the statements that put o in force, in an order that DuckDB accepts: what needs access
// comes before the seal, and the lock is last.
func (o Options) settings() []string {
	set := []string{
		"SET autoinstall_known_extensions=false",
		"SET autoload_known_extensions=false",
		"SET allow_community_extensions=false",
		memorySetting(o.MemoryLimit),
		"SET threads=" + strconv.Itoa(o.Threads),
		"SET temp_directory=" + QuoteLiteral(o.TempDir),
		"SET allow_persistent_secrets=false",
		"SET preserve_insertion_order=true",
	}
	if o.TempDir != "" {
		set = append(set, "SET max_temp_directory_size="+QuoteLiteral(strconv.FormatInt(o.TempMax, 10)+"B"))
	}
	if o.Path != "" {
		set = append(set, "PRAGMA disable_checkpoint_on_shutdown", "SET wal_autocheckpoint='1GB'")
	}
	if o.Sealed {
		set = append(set, "SET enable_external_access=false")
	}
	if o.Sealed && !o.Unsettled {
		set = append(set, lockSettings)
	}
	return set
}

const lockSettings = "SET lock_configuration=true"

// DB is one DuckDB instance. Its methods may be called concurrently.
type DB struct {
	connector *duckdb.Connector
	file      bool
	trace     func(sql string)
	overflow  Overflow
	slack     slack
	threads   int
	views     atomic.Uint64
	lenders   lenders
	users     atomic.Int64 // its connections, and itself until Close
	closing   sync.Once
	closeErr  error
}

// Open starts an instance, puts the options in force and proves on a few rows that Arrow goes in and comes
// out unharmed (about 2 ms): a driver with another inner shape fails here, not on a user's data.
func Open(ctx context.Context, o Options) (*DB, error) {
	if err := o.Validate(); err != nil {
		return nil, &Error{Kind: InvalidInput, Message: err.Error(), Position: -1, Err: err}
	}
	o = o.withDefaults()
	dsn := ""
	if o.Path != "" {
		// An absolute path can not be taken for a scheme ("s3:", "md:") or for ":memory:".
		abs, err := filepath.Abs(o.Path)
		if err != nil {
			return nil, fmt.Errorf("resolve database path %q: %w", o.Path, err)
		}
		dsn = abs
	}
	connector, err := duckdb.NewConnector(dsn, func(driver.ExecerContext) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("open database %q: %w", o.Path, openFault(ctx, err))
	}
	db := &DB{connector: connector, file: o.Path != "", trace: o.Trace, overflow: o.Overflow, slack: slack(o.Slack),
		threads: o.Threads}
	db.users.Store(1)
	if db.trace == nil {
		db.trace = func(string) {}
	}
	if err := db.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openFault finds DuckDB's own words in the text the driver wraps around them.
func openFault(ctx context.Context, err error) error {
	text := err.Error()
	if i := strings.Index(text, "duckdb error: "); i >= 0 {
		text = text[i+len("duckdb error: "):]
	}
	return fault(ctx, &duckdb.Error{Type: typeOfText(text), Msg: text}, "", 0)
}

func (db *DB) setUp(ctx context.Context, o Options) (err error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := execAll(ctx, c, o.settings()); err != nil {
		return err
	}
	if err := selfTestOnce(ctx, c); err != nil {
		return fmt.Errorf("test the Arrow path: %w", err)
	}
	return registerWindow(c.raw)
}

// Settle sets the memory limit of an unsettled database to so many bytes, and locks its settings.
func (db *DB) Settle(ctx context.Context, limit int64) (err error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return execAll(ctx, c, []string{memorySetting(limit), lockSettings})
}

func memorySetting(limit int64) string {
	return "SET memory_limit=" + QuoteLiteral(strconv.FormatInt(limit, 10)+"B")
}

func execAll(ctx context.Context, c *Conn, statements []string) error {
	for _, stmt := range statements {
		if _, err := c.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("run %s: %w", stmt, err)
		}
	}
	return nil
}

// Conn opens a connection, which the caller closes. Temporary tables and transactions belong to it.
func (db *DB) Conn(ctx context.Context) (*Conn, error) {
	con, err := db.connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", fault(ctx, err, "", 0))
	}
	c, err := newConn(db, con)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), con.Close())
	}
	db.users.Add(1)
	return c, nil
}

// Threads is how many cores one statement may use.
func (db *DB) Threads() int { return db.threads }

// Close ends the instance once its connections are closed too. It may be called again.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.closeErr = db.connector.Close()
		db.leave()
	})
	return db.closeErr
}

// leave frees the lenders with the last who could read what they lend.
func (db *DB) leave() {
	if db.users.Add(-1) == 0 {
		db.lenders.close()
	}
}

// viewName returns a name for a passing view that no other connection uses: such views are not temporary.
func (db *DB) viewName() string {
	return "__arrow_" + strconv.FormatUint(db.views.Add(1), 10)
}
