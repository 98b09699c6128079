package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

const metaName = "meta.json"

// readMeta returns nil when there is no meta.json.
func readMeta(fsys vfs.FS, dir string) (*Meta, error) {
	path := filepath.Join(dir, metaName)
	m := &Meta{}
	err := state.ReadSealed(fsys, path, m)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // no file is an answer here
	case errors.Is(err, state.ErrNewer):
		return nil, diag.New(diag.CheckpointUnusable, "%s was written by a newer Tidemill: %v", path, err).
			WithHint("run the version that wrote it, or a later one")
	case errors.Is(err, state.ErrSeal):
		return nil, diag.New(diag.CheckpointUnusable, "%s is damaged: %v", path, err).
			WithNote("it is written in one step, so this is damage, not a crash; nothing was changed").
			WithHint("restore the data directory from a copy, or start the query anew in another one")
	case err != nil:
		return nil, fmt.Errorf("read meta: %w", err)
	}
	return m, nil
}

// PlanChanged returns the error for a text that can not go on from this checkpoint: lines of the layout that differ,
// as DiffLayout has them, why, and the ways out. It changes nothing.
func (c *Checkpoint) PlanChanged(lines, reasons []string) error {
	m := c.Meta()
	err := diag.New(diag.PlanChanged, "query %q can not go on from its checkpoint in %s: "+
		"what must stay the same has changed", m.Name, c.dir)
	for _, l := range append(slices.Clone(lines), reasons...) {
		err.WithNote("%s", l)
	}
	return err.WithHint("put the old text back; or give the query a new name; or start it anew " +
		"with another --data-dir (what has been delivered stays where it is)")
}

// DiffLayout names the lines that are in one layout only, changed ones in pairs ("was  …", "is   …"). Lines that only
// moved count as changed: the order of operators is part of the layout. Layouts that are the same give none.
func DiffLayout(was, is []string) []string {
	length := commonLengths(was, is)
	var out, gone, come []string
	flush := func() {
		for i := range max(len(gone), len(come)) {
			if i < len(gone) {
				out = append(out, "was  "+gone[i])
			}
			if i < len(come) {
				out = append(out, "is   "+come[i])
			}
		}
		gone, come = nil, nil
	}
	i, j := 0, 0
	for i < len(was) || j < len(is) {
		switch {
		case i < len(was) && j < len(is) && was[i] == is[j]:
			flush()
			i, j = i+1, j+1
		case j == len(is) || i < len(was) && length[i+1][j] >= length[i][j+1]:
			gone = append(gone, was[i])
			i++
		default:
			come = append(come, is[j])
			j++
		}
	}
	flush()
	return out
}

// commonLengths returns, for each pair of tails, the length of their longest common subsequence.
func commonLengths(a, b []string) [][]int {
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	return length
}
