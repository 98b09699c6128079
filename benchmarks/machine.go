package benchmarks

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine says where a figure was taken.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Before string `json:"load_before"` // the load averages over 1, 5 and 15 minutes
	After  string `json:"load_after"`
}

func machine() Machine {
	m := Machine{CPU: procField("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Before: loadAverage()}
	fields := strings.Fields(procField("/proc/meminfo", "MemTotal"))
	if len(fields) > 0 {
		kib, _ := strconv.ParseInt(fields[0], 10, 64) // 0 where the system does not say
		m.Memory = kib << 10
	}
	m.Kernel = strings.TrimSpace(procText("/proc/sys/kernel/osrelease"))
	return m
}

func procText(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

// procField returns the first value of a "name : value" line, or "".
func procField(path, name string) string {
	for line := range strings.Lines(procText(path)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func loadAverage() string {
	fields := strings.Fields(procText("/proc/loadavg"))
	if len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

// cpuSeconds is the CPU time that a running process has used, user and system.
func cpuSeconds(pid int) float64 {
	stat := procText("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, ok := strings.Cut(stat, ") ") // the command's name may hold spaces
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	const ticks = 100 // USER_HZ, the same on every Linux that Go runs on
	return (user + system) / ticks
}

// residentBytes is the memory of a running process that is in RAM, or 0 when it is gone.
func residentBytes(pid int) int64 { return statusBytes(pid, "VmRSS") }

// peakBytes is the most memory that a running process has had in RAM, or 0 when it is gone.
func peakBytes(pid int) int64 { return statusBytes(pid, "VmHWM") }

// statusBytes returns a field of a process's status that is in KiB, or 0.
func statusBytes(pid int, name string) int64 {
	fields := strings.Fields(procField("/proc/"+strconv.Itoa(pid)+"/status", name))
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}
