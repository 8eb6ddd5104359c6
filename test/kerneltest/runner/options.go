package runner

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

var (
	// ErrFailed is returned, wrapped, by Run if a test, a package or a guest failed. What failed has been shown by then.
	ErrFailed = errors.New("kernel tests failed")
	// ErrNoKernelTests is returned, wrapped, by Run if there is nothing to run.
	ErrNoKernelTests = errors.New("no kernel tests")
)

// Options say what to run and how.
type Options struct {
	// Packages are patterns as the go command takes them. A pattern without "..." must name a package with kernel tests.
	Packages []string
	// Run, Bench and Count are those of go test. With Run a package may have no match as long as another one has.
	Run, Bench string
	Count      int
	// Short and Verbose are those of go test.
	Short, Verbose bool
	// Arguments are passed on to the test binaries, behind their own flags.
	Arguments []string
	// Memory is a guest's, in bytes.
	Memory int64
	// Guests is how many packages run at a time, each in a guest of its own; 0 is one.
	Guests int
	// DiskSize is that of each of the guest's disks, in bytes: 0 is DefaultDiskSize. The files behind them are sparse.
	DiskSize int64
	// Timeout is how long a package may take before its test binary ends itself; Grace how much longer before the guest is
	// ended.
	Timeout, Grace time.Duration
	// CoverProfile is a file for the merged cover profile, empty for none.
	CoverProfile string
	// Cache is a directory for binaries and results while the tests run.
	Cache string
	// Input is what a person types into a shell.
	Input io.Reader
	// Output receives everything there is to say.
	Output io.Writer
}

// Defaults of Options.
const (
	DefaultMemory   = 2 << 30          // bytes
	DefaultDiskSize = 4 << 30          // bytes
	DefaultTimeout  = 30 * time.Minute // the longest package takes 12 to 16 on two processors
	DefaultGrace    = 20 * time.Second
)

// DefaultCache returns where the project keeps what can be made again: $CSI_DM_CACHE, else the user's cache directory.
func DefaultCache() (string, error) {
	if cache := os.Getenv("CSI_DM_CACHE"); cache != "" {
		return filepath.Join(cache, "kernel-test"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache", "csi-dm", "kernel-test"), err
}

// modules are what kernel tests may use of the kernel. Tests cannot load more: a bare Debian has no modprobe, and it would
// look in the wrong place.
var modules = []string{
	"loop", "dm-mod", "dm-thin-pool", "dm-flakey", "dm-dust", "dm-delay", "dm-log-writes", "dm-snapshot", "dm-zero", "ext4", "xfs",
}
