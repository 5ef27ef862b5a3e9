//go:build !race

package messaging_test

const raceDetector = false
