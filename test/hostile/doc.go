// Package hostile makes bad requests out of good ones, for every call of the CSI services.
//
// Methods lists the calls by the services' own descriptors, so that a call that a new version of the specification adds, or that
// the driver begins to answer, is missed by no test. Mutations goes through a good request's message field by field, nested
// messages included, and gives one request for each value that does not belong there: what it puts into a field goes by the
// field's name and type, so that a field that a new version adds is gone through as well.
package hostile
