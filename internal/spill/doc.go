// Package spill hands out memory for state that must not outgrow its share: blocks of bytes without pointers, as long as
// there is room in memory alone, and pages of files beyond. Callers use both in the same way; the operating system
// brings pages of a file in when they are touched and writes them out when it likes.
//
// A Pool belongs to one query. It takes blocks from segments of 1 to 64 MiB, first fit:
//
//	up to Options.Resident   anonymous memory, outside of Go's heap: the collector neither scans it nor waits for it
//	beyond                   a file in Options.Dir that has lost its name, mapped as a whole (MAP_SHARED)
//
// Memory that the kernel refuses (ENOMEM) is taken from a file as well. Blocks stay where they are, so what came first
// remains in memory alone. A third of Options.Resident is kept for indexes, which every search touches. Blocks of less than
// Options.Least bytes are Go's.
//
// A Window belongs to one process. It bounds what is mapped of the files at a time: Trim, which callers call after every
// few hundred rows, looks at what the kernel counts as resident pages of files, and if that has grown by more than the
// window lets go of all mapped pages. They are not lost: what is in the file's page cache comes back with a page fault
// (some microseconds), the rest from disk. The page cache is the kernel's to keep or to give up, and is not resident
// memory of the process.
//
// The blocks of a file are reserved on disk before it is mapped, so that a full disk is an error of Alloc (ENOSPC) and
// never a signal, where the file system keeps what it has reserved: one that writes every block to a new place, or that
// compresses zeros, may not. A disk that can not be read or written ends the process, as a broken swap would. A segment
// of which nothing is in use is unmapped, which gives its file's blocks back. A process that ends in whatever way leaves
// no data: only between making a file and taking its name away can it leave an empty one, which the owner of the
// directory sweeps.
// Where the kernel does not say what is resident (not Linux), Trim does nothing and paging is the kernel's affair alone.
package spill
