// Package config reads the resources that users write, Component, Configuration, HTTPEndpoint, from YAML
// files into values, with the rules about them that need nothing else: scopes, templates, envRefs, sizes. It
// must not know what a component is or what a part of the Configuration does.
package config

import (
	"fmt"
	"slices"
)

// Origin is where a resource was read, for error texts.
type Origin struct {
	// File is the path as given. A resource from elsewhere has its own name there, and no document.
	File string
	// Document counts the documents of the file from 1.
	Document int
	// Line is the first line of the document, which is that of its "---" where it has one, from 1.
	Line int
}

// String is "file (document 2, line 14)".
func (o Origin) String() string {
	if o.File == "" {
		return "no file"
	}
	if o.Document == 0 {
		return o.File
	}
	return fmt.Sprintf("%s (document %d, line %d)", o.File, o.Document, o.Line)
}

// Meta is the metadata block of a resource.
type Meta struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
}

// Authorised says whether the sidecar appID in namespace may use a resource: its namespace must be the
// sidecar's where both are set, and its scopes, if any, must name the app.
func Authorised(meta Meta, scopes []string, appID, namespace string) bool {
	if namespace != "" && meta.Namespace != "" && meta.Namespace != namespace {
		return false
	}
	return len(scopes) == 0 || slices.Contains(scopes, appID)
}
