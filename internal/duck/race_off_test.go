//go:build !race

package duck

// raceSlack is what the race detector's own books may take on top of a measured growth.
const raceSlack = 0
