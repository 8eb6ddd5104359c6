// Package writelog reads what device mapper's target log-writes has recorded and replays it onto another device, up to any
// moment of the recording.
//
// The target records a write when it is durable: one with FUA when it completes, any other with the next flush that was
// issued after its completion. So the first n entries are what a disk holds at least whose power was cut at that
// moment, if it lost all that was not flushed. [Log.Moments] are the numbers n at which no flush was under way, and
// [Log.Unflushed] what the disk may hold besides.
//
// The format is that of drivers/md/dm-log-writes.c in the kernel; Documentation/admin-guide/device-mapper/log-writes.rst
// says what it is for.
package writelog
