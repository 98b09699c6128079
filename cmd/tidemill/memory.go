package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

const (
	memoryMin = 64 << 20
	memoryMax = 16 << 40
)

// memoryLimit reads --memory-limit. Without one it is half of what the machine or the cgroup has.
func memoryLimit(text string) (int64, error) {
	if text == "" {
		return max(memoryMin, machineMemory()/2), nil
	}
	v, err := sqlfront.Value(stream.Field{Type: stream.Bytes, Min: memoryMin, Max: memoryMax}, text)
	if err != nil {
		return 0, diag.New(diag.Usage, "--memory-limit %q %s", text, err).
			WithHint("write it like '512 MiB', '2 GiB' or 2147483648")
	}
	n, _ := v.(int64)
	return n, nil
}

// eachMemory is the limit of each of n queries that share total.
func eachMemory(total int64, n int) (int64, error) {
	each := total / int64(n)
	if each < engine.MemoryLeast {
		return 0, diag.New(diag.Usage, "a memory limit of %d MiB leaves %d MiB for each of %d queries, expected at least %d",
			total>>20, each>>20, n, engine.MemoryLeast>>20).
			WithHint("set --memory-limit to '%d MiB' or more, or run fewer queries in this process", int64(n)*engine.MemoryLeast>>20)
	}
	return each, nil
}

// machineMemory is the memory that this process may use, in bytes.
func machineMemory() int64 {
	total := int64(memoryMin)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	if limit := cgroupMemory(); limit > 0 {
		total = min(total, limit)
	}
	return total
}

// cgroupMemory is the least limit of the cgroups that this process is in, or 0.
func cgroupMemory() int64 {
	least := int64(0)
	note := func(path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64) // "max" is no number
		if err == nil && n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	note("/sys/fs/cgroup/memory/memory.limit_in_bytes")
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(own)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ; ok; group = filepath.Dir(group) {
			note(filepath.Join("/sys/fs/cgroup", group, "memory.max"))
			ok = group != "/" && group != "."
		}
	}
	return least
}

// shareMemory gives Go its part of the limit, unless GOMEMLIMIT says otherwise.
func (e *env) shareMemory(total int64) {
	if v, ok := e.getenv("GOMEMLIMIT"); ok && v != "" {
		return
	}
	debug.SetMemoryLimit(engine.GoMemory(total))
}
