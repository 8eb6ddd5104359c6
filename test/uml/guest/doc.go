// Package guest has the steps that a process 1 of a guest of package uml usually takes, to be called inside that guest:
//
//	if err := guest.Mount(guest.Proc, guest.Sysfs, guest.Run, guest.Tmp); err != nil { … }
//	if err := guest.LoadModules("dm-mod", "dm-thin-pool", "xfs"); err != nil { … }
//	… the job …
//	guest.PowerOff()
//
// The kernel has mounted the host's root directory read-only on / and devtmpfs on /dev by then.
package guest
