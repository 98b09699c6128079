package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/rowenc"
)

// The states of a check.
const (
	healthy = "ok"
	warning = "warn"
	failing = "FAIL"
)

// check is one finding of doctor.
type check struct {
	name, state, detail, fix string
	exit                     diag.Exit
}

func (e *env) doctorCommand() *cobra.Command {
	var f natsFlags
	var broker brokerFlags
	c := &cobra.Command{
		Use: "doctor",
		Short: "check this machine: versions, DuckDB, data dir, disk, memory, clock, and a NATS server if one is named or " +
			"brought along",
		Args: noArgs,
	}
	f.flags(c, e)
	broker.add(c)
	dataDir, form := e.reading(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		_, inEnv := e.getenv("NATS_URL")
		named := inEnv || c.Flags().Changed("url")
		return e.doctor(c.Context(), doctorOptions{dataDir: *dataDir, form: chosen, nats: f, named: named, broker: broker})
	}
	return c
}

type doctorOptions struct {
	dataDir string
	form    string
	nats    natsFlags
	named   bool // there is a server at the address of nats
	broker  brokerFlags
}

// doctor prints every check and fails with the exit code of the first that does.
func (e *env) doctor(ctx context.Context, o doctorOptions) error {
	checks := []check{e.checkVersions(), checkDuckDB(ctx, e)}
	checks = append(checks, e.checkDataDir(o.dataDir)...)
	checks = append(checks, checkMemory(), e.checkClock(o.dataDir))
	if o.named || o.broker.embedded {
		checks = append(checks, e.checkNATS(ctx, o)...)
	}
	l := listing{columns: []string{"check", "state", "detail", "fix"}}
	exit := diag.ExitOK
	for _, c := range checks {
		l.add(c.name, c.state, c.detail, c.fix)
		if c.state == failing && exit == diag.ExitOK {
			exit = c.exit
		}
	}
	if o.form == "table" {
		e.tellChecks(checks)
	} else if err := l.print(e.stdout, o.form); err != nil {
		return err
	}
	if exit != diag.ExitOK {
		return exitError{exit}
	}
	return nil
}

// tellChecks prints a line for each check, and below it how to mend what is not well.
func (e *env) tellChecks(checks []check) {
	for _, c := range checks {
		fmt.Fprintf(e.stdout, "%-5s %-15s %s\n", c.state, c.name, rowenc.Plain(c.detail))
		if c.state != healthy && c.fix != "" {
			fmt.Fprintf(e.stdout, "%-5s %-15s %s\n", "", "", "fix: "+rowenc.Plain(c.fix))
		}
	}
}

func (e *env) checkVersions() check {
	libs := libraries()
	parts := []string{"tidemill " + version()}
	for _, name := range sortedNames(libs) {
		parts = append(parts, name+" "+libs[name])
	}
	return check{name: "versions", state: healthy, detail: strings.Join(parts, ", ")}
}

// checkDuckDB opens a database, which runs the driver's self-test, and has it compute something exact.
func checkDuckDB(ctx context.Context, e *env) check {
	c := check{name: "duckdb", exit: diag.ExitFailed,
		fix: "install the release binary for this machine, or build it with its own gcc and g++"}
	start := e.clock.Now()
	err := withDuck(ctx, func(conn *duck.Conn) error {
		rows, err := conn.Rows(ctx,
			"SELECT version(), CAST(sum(i::DECIMAL(18,2) / 4) AS VARCHAR) FROM range(100) t(i)")
		if err != nil {
			return fmt.Errorf("run a statement: %w", err)
		}
		c.detail = fmt.Sprintf("%v, self-test %d ms", rows[0][0], e.clock.Now().Sub(start).Milliseconds())
		if sum := fmt.Sprint(rows[0][1]); !strings.HasPrefix(sum, "1237.5") {
			return fmt.Errorf("0.25 + … + 24.75 is %s here", sum)
		}
		return nil
	})
	if err != nil {
		c.state, c.detail = failing, err.Error()
		return c
	}
	c.state, c.fix = healthy, ""
	return c
}

// human writes a number of bytes in the largest unit that keeps it above one.
func human(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
