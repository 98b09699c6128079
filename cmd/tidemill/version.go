package main

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/spf13/cobra"
)

func (e *env) versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "print the version and those of the libraries that decide answers", Args: noArgs}
	asJSON := c.Flags().Bool("json", false, "as one JSON object")
	c.RunE = func(*cobra.Command, []string) error {
		libs := libraries()
		if *asJSON {
			libs["tidemill"] = version()
			return json.NewEncoder(e.stdout).Encode(libs) //nolint:wrapcheck // standard output is gone
		}
		fmt.Fprintf(e.stdout, "tidemill %s\n", version())
		names := make([]string, 0, len(libs))
		for name := range libs {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(e.stdout, "  %-12s %s\n", name, libs[name])
		}
		return nil
	}
	return c
}
