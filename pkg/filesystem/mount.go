package filesystem

import (
	"os"

	"golang.org/x/sys/unix"
)

// fixedParameters are always set. ext4's lazy initialisation would write all inode tables of every volume; xfs would
// refuse a snapshot beside its origin, because both have one UUID.
var fixedParameters = map[Type]mountParameter{
	Ext4: {key: "noinit_itable"},
	XFS:  {key: "nouuid"},
}

// Mount mounts the device's file system on the directory target, an open descriptor: no path is resolved on the way, so
// that nothing put in its place meanwhile is mounted over. It takes the mount API of Linux 5.2, where each option is handed
// over by itself and no comma can add another. Errors are a *MountError; for damage see [Damaged].
func Mount(device string, t Type, options MountOptions, target *os.File) error {
	grown, err := mount(device, t, options, target)
	if grown {
		options.grow = false
		_, err = mount(device, t, options, target)
	}
	return err
}

// mount mounts the file system, or, where it has grown and must be unmounted before anybody uses it, says so and mounts nothing.
func mount(device string, t Type, options MountOptions, target *os.File) (grown bool, err error) {
	fail := func(op string, context int, err error) (bool, error) {
		e := &MountError{Op: op, Device: device, Target: target.Name(), Err: err}
		if context >= 0 {
			e.Messages = contextMessages(context)
		}
		return false, e
	}
	context, err := unix.Fsopen(string(t), unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fail("fsopen "+string(t), -1, err)
	}
	defer func() { _ = unix.Close(context) }()
	if err := unix.FsconfigSetString(context, "source", device); err != nil {
		return fail("fsconfig source", context, err)
	}
	for _, parameter := range append([]mountParameter{fixedParameters[t]}, options.parameters...) {
		if err := parameter.set(context); err != nil {
			return fail("fsconfig "+parameter.key, context, err)
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return fail("mount "+string(t), context, err)
	}
	attributes := options.attributes
	prepared := options.grow || options.rootMode != 0
	if prepared {
		attributes &^= unix.MOUNT_ATTR_RDONLY // until it is as it should be
	}
	detached, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return fail("fsmount", context, err)
	}
	defer func() { _ = unix.Close(detached) }()
	if options.grow {
		grown, err := growDetached(detached, device, options)
		if err != nil {
			return fail("grow", -1, err)
		}
		if grown && t == XFS {
			// Until the superblock is on disk with its new size, which takes the kernel half a minute, a power cut would leave a
			// log that it cannot replay as soon as that names the new space (Linux before 6.13). Unmounting writes it out.
			return true, nil
		}
	}
	if options.rootMode != 0 {
		if err := setRootMode(detached, options.rootMode); err != nil {
			return fail("set the root directory's mode", -1, err)
		}
	}
	if prepared && options.attributes&unix.MOUNT_ATTR_RDONLY != 0 {
		readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(detached, "", unix.AT_EMPTY_PATH, &readOnly); err != nil {
			return fail("mount_setattr", -1, err)
		}
	}
	if err := attach(detached, target); err != nil {
		return fail("move_mount", -1, err)
	}
	return false, nil
}

func (p mountParameter) set(context int) error {
	if p.value == "" {
		return unix.FsconfigSetFlag(context, p.key)
	}
	return unix.FsconfigSetString(context, p.key, p.value)
}

// attach puts a detached mount on the directory.
func attach(mount int, target *os.File) error {
	return unix.MoveMount(mount, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
