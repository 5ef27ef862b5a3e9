package operator

// MostWaiting is how many events may wait for one sidecar.
const MostWaiting = mostWaiting
