package peers

import (
	"os"
	"strconv"
	"strings"
)

// usage is what a group of processes has used.
type usage struct {
	cpu  float64 // seconds, user and system, of those that live and of their children that have ended
	peak int64   // sum over those that live of the most memory that each had in RAM
}

// groupUsage looks at every process of a process group. A contender is a group, as it may start others: Python a JVM.
func groupUsage(group int) usage {
	var u usage
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return u
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		pgrp, cpu, ok := parseStat(string(stat))
		if !ok || pgrp != group {
			continue
		}
		u.cpu += cpu
		u.peak += highWater(e.Name())
	}
	return u
}

// parseStat returns the process group and the CPU seconds of a line of /proc/PID/stat.
func parseStat(stat string) (group int, cpu float64, ok bool) {
	_, rest, found := cutLast(stat, ") ") // the command's name may hold anything
	fields := strings.Fields(rest)
	if !found || len(fields) < 15 {
		return 0, 0, false
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return 0, 0, false
	}
	for _, f := range fields[11:15] { // user, system, and the same of children
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, 0, false
		}
		cpu += ticks / 100 // USER_HZ, the same on every Linux that Go runs on
	}
	return group, cpu, true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// highWater is VmHWM of a process, in bytes, or 0 when it has ended.
func highWater(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}
