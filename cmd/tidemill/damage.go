package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

const (
	damaged = "damaged" // the state of a query whose directory can not be read as a start would
	// lookBytesMax is how much of a state version is read to compare its checksums; of larger ones, only whether
	// the files are there and whole is looked at. `checkpoint verify` reads all.
	lookBytesMax = 256 << 20
	// lookTries is how often the newest version is looked at: its owner may remove it meanwhile.
	lookTries = 3
)

// look reads what the next start of a query would read first: the log, meta.json and the newest state version. With an
// error the summary is what could be read, or nil.
func look(ctx context.Context, dir string) (*checkpoint.Summary, error) {
	if orphaned(dir) {
		return nil, noMeta(dir)
	}
	for try := 1; ; try++ {
		s, err := checkpoint.Inspect(vfs.OS{}, dir)
		if err != nil || len(s.Versions) == 0 {
			return s, err //nolint:wrapcheck // coded
		}
		err = s.Versions[len(s.Versions)-1].Check(ctx, lookBytesMax)
		if err == nil || try == lookTries {
			return s, err //nolint:wrapcheck // coded
		}
	}
}

// orphaned reports whether a directory has a query's log, but nothing that says of which.
func orphaned(dir string) bool {
	names, err := vfs.OS{}.List(filepath.Join(dir, "log"))
	return err == nil && len(names) > 0 && !exists(filepath.Join(dir, metaFile)) && !unborn(dir)
}

// unborn reports whether a directory is what a first start left that was broken off before anything was read.
func unborn(dir string) bool {
	if !exists(filepath.Join(dir, "log")) || exists(filepath.Join(dir, metaFile)) {
		return false
	}
	yes, err := checkpoint.Unborn(vfs.OS{}, dir)
	return err == nil && yes
}

func noMeta(dir string) error {
	return diag.New(diag.CheckpointUnusable, "%s holds a log, but no %s", dir, metaFile).
		WithHint("restore the directory from a copy, or start the query anew in another one")
}

// queryThere returns the directory of a query that is there, whole or not.
func queryThere(dataDir, query string) (string, error) {
	dir, err := queryDir(dataDir, query)
	if err != nil && query != "" && orphaned(engine.DataDirOf(dataDir, query)) {
		return engine.DataDirOf(dataDir, query), nil
	}
	return dir, err
}

// message is what a listing says of a fault: the file, and what is wrong with it.
func message(err error) any {
	if err == nil {
		return nil
	}
	if all := diag.All(err); len(all) > 0 {
		return all[0].Message
	}
	return err.Error()
}

// faultsOf puts the faults of several directories into one error that shows each.
func faultsOf(faults []error) error {
	var list diag.List
	var rest []error
	for _, err := range faults {
		coded := diag.All(err)
		list = append(list, coded...)
		if coded == nil {
			rest = append(rest, err)
		}
	}
	if len(rest) == 0 {
		return list.Err()
	}
	return errors.Join(append(rest, list.Err())...)
}
