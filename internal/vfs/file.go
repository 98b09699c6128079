package vfs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// WriteFile puts data under name in one step: after a crash at any point a reader finds the old file or the
// new one, whole. When it returns nil the new one is durable. It writes name + ".tmp" on the way, so two
// callers must not write the same name at once.
func WriteFile(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := writeSynced(fsys, tmp, data); err != nil {
		// What is left is garbage under a name nobody reads; a failure to remove it says nothing new.
		_ = fsys.Remove(tmp)
		return fmt.Errorf("write %q: %w", name, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("write %q: %w", name, err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("write %q: %w", name, err)
	}
	return nil
}

func writeSynced(fsys FS, name string, data []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// ReadFile returns all bytes of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %q: %w", name, err), f.Close())
	}
	return data, f.Close()
}
