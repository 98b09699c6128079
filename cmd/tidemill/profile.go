package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// profiles are the hidden flags that write Go's profiles of a whole command.
type profiles struct {
	cpu    string
	allocs string
}

func (p *profiles) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.cpu, "cpuprofile", "", "write a CPU profile to this file")
	c.Flags().StringVar(&p.allocs, "memprofile", "", "write an allocation profile to this file")
	hide(c, "cpuprofile", "memprofile")
}

// start begins profiling; stop ends it and writes the files.
func (p profiles) start() (stop func() error, err error) {
	var cpu *os.File
	if p.cpu != "" {
		if cpu, err = os.Create(p.cpu); err != nil {
			return nil, fmt.Errorf("make the CPU profile: %w", err)
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(fmt.Errorf("start the CPU profile: %w", err), cpu.Close())
		}
	}
	return func() error {
		var errs []error
		if cpu != nil {
			pprof.StopCPUProfile()
			errs = append(errs, cpu.Close())
		}
		if p.allocs != "" {
			errs = append(errs, writeAllocs(p.allocs))
		}
		return errors.Join(errs...)
	}, nil
}

func writeAllocs(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make the allocation profile: %w", err)
	}
	if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
		return errors.Join(fmt.Errorf("write the allocation profile: %w", err), f.Close())
	}
	return f.Close() //nolint:wrapcheck // names the file
}
