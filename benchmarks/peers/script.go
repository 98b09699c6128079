package peers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tidemill/tidemill/internal/diag"
)

// script is an engine that a Python script drives: <dir>/<engine>/run.py, by the Python of <dir>/.venv/<engine>.
type script struct {
	dir     string
	engine  string
	variant string // what sets it apart from the engine's other settings, or ""
	rocksDB bool
	java    bool // it needs a JVM
	cuts    bool // see batches
	suites  func(w *workload) bool
	result  func(w *workload, j job) string // see got
	says    func(w *workload) string        // see guarantee
}

func (s script) name() string {
	if s.variant == "" {
		return s.engine
	}
	return s.engine + "-" + s.variant
}

func (s script) takes(w *workload) bool        { return s.suites(w) }
func (s script) batches() bool                 { return s.cuts }
func (s script) got(w *workload, j job) string { return s.result(w, j) }
func (s script) guarantee(w *workload) string  { return s.says(w) }
func (s script) python() string                { return filepath.Join(s.dir, ".venv", s.engine, "bin", "python") }

func (s script) command(_ *workload, j job) (command, error) {
	j.RocksDB = s.rocksDB
	return command{path: s.python(), args: []string{filepath.Join(s.dir, s.engine, "run.py")}, input: j,
		env: []string{"SPARK_LOCAL_IP=127.0.0.1", "TZ=UTC", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1",
			"PATHWAY_THREADS=2"}}, nil
}

// installed says what has to be done before the contender can run, or nil.
func (s script) installed() error {
	if _, err := os.Stat(s.python()); errors.Is(err, fs.ErrNotExist) {
		return diag.New(diag.Usage, "peer %q is not installed: there is no %s", s.engine, s.python()).
			WithHint("make peers-%s installs it, by pip, into a folder that git ignores", s.engine)
	} else if err != nil {
		return diag.New(diag.Usage, "peer %q can not be used: %s", s.engine, err)
	}
	if !s.java {
		return nil
	}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		if _, err := os.Stat(filepath.Join(home, "bin", "java")); err == nil {
			return nil
		}
		return diag.New(diag.Usage, "peer %q needs Java, and JAVA_HOME is %q, which has no bin/java", s.engine, home).
			WithHint("set JAVA_HOME to a JDK of version 17 or later")
	}
	if _, err := exec.LookPath("java"); err != nil {
		return diag.New(diag.Usage, "peer %q needs Java, and there is no java in PATH", s.engine).
			WithHint("install a JDK of version 17 or later, such as Debian's openjdk-17-jre-headless, or set JAVA_HOME")
	}
	return nil
}

// check asks that every contender is installed.
func check(list []contender) error {
	var all []error
	told := map[string]bool{} // engines that several contenders share
	for _, c := range list {
		if s, ok := c.(script); ok && !told[s.engine] {
			told[s.engine] = true
			all = append(all, s.installed())
		}
	}
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	return nil
}
