// Package audit lets the kernel's audit subsystem report every program that is executed on a machine, in any container.
//
// A rule on the exit of execve and execveat makes the kernel write records for each of them; [Listen] becomes the audit daemon
// that gets them. The kernel holds a process back rather than losing its record while its backlog is full, and counts what it
// lost nevertheless: [Listener.Lost].
//
// Source of the messages and numbers: the kernel's include/uapi/linux/audit.h and kernel/audit.c.
package audit
