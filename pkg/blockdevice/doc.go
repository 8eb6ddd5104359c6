// Package blockdevice deals with the block devices below a pool: which one a path leads to and how large it is, what
// signatures it carries, and loop devices on files.
//
// [Open] opens a device for exclusive use, so that the kernel refuses one that is mounted, in a volume group or in
// another device-mapper table; [Stat] only looks. [Signatures] names what a device carries in the words of libblkid, and
// [EraseSignatures] removes exactly the signatures it was told to, and [ForgetPartitions] has the kernel notice that a
// partition table is gone. [AttachLoop] puts a loop device on a file, and gives back the one that is there already instead of
// a second; [RefreshLoop] follows a file that has grown, and [Size] tells of a device that has, without opening it.
package blockdevice
