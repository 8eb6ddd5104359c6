// Package bench measures what a thin volume costs through the engine, beside the two things it can be compared with in the
// same run: the kernel's own calls for the same work, and LVM. `make bench` runs it in a User Mode Linux guest and prints
// tables; docs/performance.md has those of one run and says how to read them.
//
// The three sides are
//
//   - the engine (engine_kernel_test.go): what CreateVolume and NodeStageVolume do to the storage,
//   - the floor (floor_kernel_test.go): the ioctls and the mount that no implementation can do without, their memory laid out
//     before the clock starts, no registry, nothing checked but errno,
//   - LVM (lvm_kernel_test.go): lvcreate, mkfs, mount.
//
// They take turns within one loop, so that what else goes on in the machine hits all of them alike. Each has a disk of its
// own, of the same kind; engine and floor have the same tables on theirs. What a sample leaves is taken away before the
// next one, outside of the clock, so the number of volumes stays what the table says.
//
// Nothing here asserts a time: a figure is judged by who reads it.
package bench
