package benchmarks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// feed makes the rows of the steps of a task. One whose sources are of files has them there already.
func (t task) feed() (feed, error) {
	if t.Files {
		return func(int) map[string]arrow.Record { return nil }, nil
	}
	return t.Feed.feed()
}

// stateBytes is what the state versions of a task's queries take on disk now.
func stateBytes(dir string) int64 {
	total := int64(0)
	folders, _ := filepath.Glob(filepath.Join(dir, "data", "*", "state*")) // the pattern is a good one
	for _, folder := range folders {
		// A file that is being replaced while it is counted is no fault.
		_ = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // as above
			}
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
			return nil
		})
	}
	return total
}

// profileCPU writes a CPU profile until stop is called. An empty path asks for none.
func profileCPU(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("start the CPU profile: %w", err), f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // what is missing shows itself to whoever reads it
	}, nil
}

// profileOf names the profile of one query of a suite that runs each in a process of its own: the path that was asked
// for, with the query's name before its ending.
func profileOf(path, query string) string {
	if path == "" {
		return ""
	}
	ending := filepath.Ext(path)
	return strings.TrimSuffix(path, ending) + "." + query + ending
}
