//go:build !linux

package spill

import "os"

const dropsZero = false

func reserve(f *os.File, size int64) error { return writeZeros(f, size) }

func residentFiles() func() int64 { return func() int64 { return -1 } }
