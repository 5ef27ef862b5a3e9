//go:build !race

package test

// raceOn says that the race detector is on: then load is a tenth.
const raceOn = false
