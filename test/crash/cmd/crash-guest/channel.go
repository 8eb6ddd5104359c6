//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/job"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

// channel is the way out of the guest, for any goroutine.
type channel struct {
	mutex sync.Mutex
	file  *os.File
}

func newChannel() (*channel, error) {
	file, err := guest.OpenChannel(0)
	return &channel{file: file}, err
}

// say has a message leave the guest before it returns: what is said before something happens is known to the host even if the
// power is cut in the middle of it.
func (c *channel) say(m job.Message) {
	line, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of numbers and texts always can be
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_, err = c.file.Write(append(line, '\n'))
	if err == nil {
		// TCSBRK with an argument waits until all is sent (tcdrain(3)).
		err = unix.IoctlSetInt(int(c.file.Fd()), unix.TCSBRK, 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash-guest: say:", err)
		guest.PowerOff()
	}
}

func (c *channel) tell(e history.Event) { c.say(job.Message{Event: &e}) }
