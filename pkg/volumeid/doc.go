// Package volumeid holds the one rule for names that come from outside and end up in paths, device names and objects: a
// volume handle, a snapshot handle and a pool name. Node and controller check every one of them before they do anything else with it. The
// same patterns stand in the API's validation (package api/v1alpha1).
package volumeid
