// Package security holds who the sidecar is, whom it trusts and what it demands of callers: tokens now,
// the identity from sentry and the access policies with them. It must not know what a call is about.
package security
