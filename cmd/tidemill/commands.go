package main

import "github.com/spf13/cobra"

// commands lists every command, each in a file of its own.
func (e *env) commands() []*cobra.Command {
	return []*cobra.Command{
		e.runCommand(),
		e.lintCommand(),
		e.explainCommand(),
		e.testCommand(),
		e.chaosCommand(),
		e.batchCommand(),
		e.sqlCommand(),
		e.lsCommand(),
		e.showCommand(),
		e.batchesCommand(),
		e.slotsCommand(),
		e.whyCommand(),
		e.stateCommand(),
		e.diffCommand(),
		e.checkpointCommand(),
		e.dropCommand(),
		e.filesCommand(),
		e.tailCommand(),
		e.backfillCommand(),
		e.dlqCommand(),
		e.generateCommand(),
		e.doctorCommand(),
		e.docsCommand(),
		e.demoCommand(),
		e.benchCommand(),
		e.brokerCommand(),
		e.engineCommand(),
		e.benchDataCommand(),
		e.versionCommand(),
	}
}
