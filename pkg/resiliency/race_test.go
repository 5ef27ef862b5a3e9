//go:build race

package resiliency_test

const raceDetector = true
