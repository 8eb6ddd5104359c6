package job

// Environment variables of a step, set by the guest.
const (
	// ScratchVariable is a directory on a tmpfs for the files below loop devices. Its presence says that a program runs
	// inside a guest whose disks it may overwrite.
	ScratchVariable = "CSI_DM_TEST_SCRATCH"
	// DisksVariable lists the device names of the machine's disks, separated by commas.
	DisksVariable = "CSI_DM_TEST_DISKS"
)
