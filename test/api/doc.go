// Package api tests, on a real API server with its etcd, what needs one but no node: that the kinds refuse bad objects with a
// message that helps, that the admission policy and RBAC of the chart hold an agent to its own node's objects, and that the
// controller does its work with the rights that the chart gives it, in as few writes as it should.
//
// The nodes are stand-ins: they write the status that an agent would write, with an agent's token. They prove nothing about
// agents; the end-to-end tests do that.
//
//	make api-test
//	make api-test RUN=TestCreate
package api
