package vfs

import "os"

// linkNew gives a file its new name by a hard link, which fails if the name is there, and takes the old one
// away. A crash in between leaves both names, of one whole file.
func linkNew(oldname, newname string) error {
	if err := os.Link(oldname, newname); err != nil {
		return err
	}
	return os.Remove(oldname)
}
