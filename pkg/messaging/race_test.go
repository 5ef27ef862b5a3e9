//go:build race

package messaging_test

// raceDetector makes everything slow and large.
const raceDetector = true
