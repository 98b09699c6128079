package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/natsd"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tidemill": func() {
		e := &env{
			stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.LookupEnv, clock: clock.System{},
			tty: term.IsTerminal(int(os.Stdout.Fd())),
		}
		os.Exit(int(e.main(context.Background(), os.Args[1:])))
	}})
}

// patience is how long a script waits for what must come.
const patience = 2 * time.Minute

// TestScripts runs the command lines of testdata/script. Scripts named nats_* have a server at $NATS_URL.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// The script's folder is named after it.
			if !strings.HasPrefix(filepath.Base(env.WorkDir), "script-nats_") {
				return nil
			}
			server, err := natsd.Start(natsd.Options{Dir: filepath.Join(env.WorkDir, ".nats")})
			if err != nil {
				return err
			}
			env.Defer(server.Stop)
			env.Setenv("NATS_URL", server.URL())
			env.Setenv("NATS_HOST", strings.TrimPrefix(server.URL(), "nats://"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "interrupt": interrupt, "damage": damage, "publish": publish, "queue": queue, "small": small, "consumers": consumers, "answer": answer,
			"hides": hides, "nowhere": nowhere, "copydir": copydir, "remake": remake,
		},
	})
}

// exits CODE COMMAND… runs a command and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code is %d, not %d", got, want)
	}
}

// hides TEXT COMMAND… runs a command, however it ends, and sees that it prints nothing of the text.
func hides(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: hides TEXT COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	for _, name := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(name)
		if strings.Contains(text, args[0]) {
			ts.Fatalf("%s shows %q", name, args[0])
		}
		if strings.Contains(text, "[USAGE]") || strings.Contains(text, "goroutine ") {
			ts.Fatalf("%q did not run", args[1:])
		}
	}
}

// nowhere TEXT DIR sees that no file in a folder has the text.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nowhere TEXT DIR")
	}
	files := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if files++; bytes.Contains(data, []byte(args[0])) {
			ts.Fatalf("%s has %q", path, args[0])
		}
		return err
	}))
	if files == 0 {
		ts.Fatalf("%s is empty", args[1])
	}
}

// copydir FROM TO copies a folder.
func copydir(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copydir FROM TO")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// remake STREAM SUBJECT FILE deletes a stream, makes it again and publishes each line of a file.
func remake(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: remake STREAM SUBJECT FILE")
	}
	server(ts, func(ctx context.Context, js jetstream.JetStream) { ts.Check(js.DeleteStream(ctx, args[0])) })
	publish(ts, false, args)
}

// until PATTERN COMMAND… runs a command again and again until its output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND…")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if err == nil && pattern.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not come; the last output was\n%s", args[0], out)
		}
	}
}

// interrupt QUERY-DIR sends SIGINT to the process that holds the directory's lock.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: interrupt QUERY-DIR")
	}
	found := regexp.MustCompile(`pid=(\d+)`).FindStringSubmatch(ts.ReadFile(filepath.Join(args[0], "LOCK")))
	if found == nil {
		ts.Fatalf("nobody holds %s", args[0])
	}
	pid, err := strconv.Atoi(found[1])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGINT))
}

// damage GLOB OFFSET flips a bit of the only file that matches.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage GLOB OFFSET")
	}
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(paths) != 1 {
		ts.Fatalf("%s matches %d files", args[0], len(paths))
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	data, err := os.ReadFile(paths[0])
	ts.Check(err)
	data[at] ^= 1
	ts.Check(os.WriteFile(paths[0], data, 0o600))
}

// publish STREAM SUBJECT FILE makes the stream and publishes each line of a file.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: publish STREAM SUBJECT FILE")
	}
	fill(ts, jetstream.StreamConfig{Name: args[0], Subjects: []string{args[1]}, AllowAtomicPublish: true}, args[2])
}

// queue STREAM SUBJECT FILE does the same with a work-queue stream.
func queue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: queue STREAM SUBJECT FILE")
	}
	fill(ts, jetstream.StreamConfig{Name: args[0], Subjects: []string{args[1]},
		Retention: jetstream.WorkQueuePolicy}, args[2])
}

// small STREAM SUBJECT BYTES makes a stream that takes no larger messages.
func small(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: small STREAM SUBJECT BYTES")
	}
	most, err := strconv.ParseInt(args[2], 10, 32)
	ts.Check(err)
	server(ts, func(ctx context.Context, js jetstream.JetStream) {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: args[0], Subjects: []string{args[1]}, MaxMsgSize: int32(most)})
		ts.Check(err)
	})
}

func fill(ts *testscript.TestScript, config jetstream.StreamConfig, file string) {
	server(ts, func(ctx context.Context, js jetstream.JetStream) {
		_, err := js.CreateOrUpdateStream(ctx, config)
		ts.Check(err)
		for line := range strings.Lines(ts.ReadFile(file)) {
			_, err := js.Publish(ctx, config.Subjects[0], []byte(strings.TrimSuffix(line, "\n")))
			ts.Check(err)
		}
	})
}

// consumers N STREAM compares the number of consumers that a stream has.
func consumers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: consumers N STREAM")
	}
	server(ts, func(ctx context.Context, js jetstream.JetStream) {
		s, err := js.Stream(ctx, args[1])
		ts.Check(err)
		if got := strconv.Itoa(s.CachedInfo().State.Consumers); got != args[0] {
			ts.Fatalf("%s consumers, not %s", got, args[0])
		}
	})
}

func server(ts *testscript.TestScript, use func(context.Context, jetstream.JetStream)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := nats.Connect(ts.Getenv("NATS_URL"), nats.Timeout(patience))
	ts.Check(err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	ts.Check(err)
	use(ctx, js)
}

// answer TEXT CODE ARGS… runs tidemill as on a terminal where somebody types TEXT, and compares its exit code.
func answer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: answer TEXT CODE ARGS…")
	}
	e := &env{stdin: strings.NewReader(args[0] + "\n"), stdout: ts.Stdout(), stderr: ts.Stderr(), clock: clock.System{},
		tty: true, getenv: func(name string) (string, bool) {
			if name == "TIDEMILL_DATA_DIR" {
				return ts.MkAbs(".tidemill"), true
			}
			v := ts.Getenv(name)
			return v, v != ""
		}}
	if got := strconv.Itoa(int(e.main(context.Background(), args[2:]))); got != args[1] {
		ts.Fatalf("exit code is %s, not %s", got, args[1])
	}
}
