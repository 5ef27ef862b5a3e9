//go:build race

package http

// raceEnabled: the race detector makes pools forget at random, so that allocations cannot be counted.
const raceEnabled = true
