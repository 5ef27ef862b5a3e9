// Package api holds the tests of the schema; the types are in the folders of their versions.
package api
