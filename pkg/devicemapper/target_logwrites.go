package devicemapper

import (
	"fmt"
	"strings"
)

// LogWrites passes everything on to Device and keeps a record of the writes on
// Log, in the order in which they became durable. Tests replay it up to any
// moment, to see what a power cut at that moment would have left
// (Documentation/admin-guide/device-mapper/log-writes.rst of the kernel).
//
// The message "mark NAME" puts a name into the record. The kernel copies every
// write, and one that does not fit on Log any more ends the recording.
type LogWrites struct {
	Device DeviceNumber // that is written to, from its first sector on
	Log    DeviceNumber
}

// Type returns "log-writes".
func (LogWrites) Type() string { return TypeLogWrites }

func (t LogWrites) params() (string, error) {
	if err := t.Device.validate("logged device"); err != nil {
		return "", err
	}
	if err := t.Log.validate("log device"); err != nil {
		return "", err
	}
	if t.Device == t.Log {
		return "", invalid("log device", t.Log.String(), "another device than the one that is logged")
	}
	return fmt.Sprintf("%s %s", t.Device, t.Log), nil
}

func parseLogWrites(params string) (LogWrites, error) {
	fields := strings.Fields(params)
	if len(fields) != 2 {
		return LogWrites{}, wantFields(params, 2)
	}
	device, err := ParseDeviceNumber(fields[0])
	if err != nil {
		return LogWrites{}, err
	}
	log, err := ParseDeviceNumber(fields[1])
	return LogWrites{Device: device, Log: log}, err
}
