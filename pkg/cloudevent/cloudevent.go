// Package cloudevent builds and reads CloudEvents as JSON, as Dapr writes them. It must not know who publishes or
// receives.
package cloudevent

// ContentType is that of a CloudEvent as JSON.
const ContentType = "application/cloudevents+json"
