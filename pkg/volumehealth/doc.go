// Package volumehealth has the words in which the driver speaks of what ails a volume or a pool: in CSI's health calls, in
// conditions, in events and in metrics.
//
//   - [Problem] is one thing that is wrong; how bad it is follows from its reason ([StatusOf]), so that node and controller,
//     which share nothing but conditions, say the same.
//   - [Condition] puts problems into an object's condition, [FromCondition] takes them out.
//   - [Volume] and [Backends] are CSI's form of them.
//
// Who finds out what is wrong is elsewhere: pkg/node/monitor on the node, pkg/controller/view in the controller.
package volumehealth
