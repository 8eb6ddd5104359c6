package thinpool

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

var (
	poolNamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	ownerPattern    = regexp.MustCompile(`^[A-Za-z0-9._~:/-]{1,512}$`)
	poolIDPattern   = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// maximumVolumeName is how many characters the name of a volume may have: see poolID.volumeName.
const maximumVolumeName = 96

// isVolumeName tells whether a volume may have the name: lower case letters, digits, and dots and dashes in between. A loop
// and not a regular expression, because an open looks at the name of every volume.
func isVolumeName[T ~string | ~[]byte](name T) bool {
	if len(name) == 0 || len(name) > maximumVolumeName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if between := i > 0 && i < len(name)-1 && (c == '.' || c == '-'); !alphanumeric && !between {
			return false
		}
	}
	return true
}

// poolID is a pool's identity: 128 random bits, drawn when the pool is made, as 32 hexadecimal digits. All names that the
// pool has in the kernel derive from it, so two pools on one host never collide, wherever they were made.
type poolID string

func newPoolID() poolID { return poolID(randomID()) }

// randomID returns 128 random bits as hexadecimal digits. Reading random bits does not fail on Linux.
func randomID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

// The pool's own devices.
const (
	partRegistry = "registry"
	partMetadata = "metadata"
	partData     = "data"
	partPool     = "pool"
)

// shortIDLength is how much of the identity stands in a name: 64 bits. The uuid has all of it.
const shortIDLength = 16

func (id poolID) prefix() string { return "csi-dm-" + string(id)[:shortIDLength] + "-" }

func (id poolID) partName(part string) devicemapper.Name {
	return devicemapper.Name(id.prefix() + part)
}

func (id poolID) partUUID(part string) devicemapper.UUID {
	return devicemapper.UUID("CSIDM-" + string(id) + "-" + part)
}

// volumeName is the name of a volume's device: with the longest volume name exactly the 127 characters that the kernel
// takes.
func (id poolID) volumeName(volume string) devicemapper.Name {
	return devicemapper.Name(id.prefix() + "volume-" + volume)
}

// baseName is the name of a thin device that the engine itself uses for a moment: a base while it is being formatted, a
// deleted device while its blocks are being discarded. Open removes what a dead process has left of them.
func (id poolID) baseName(thin uint32) devicemapper.Name {
	return devicemapper.Name(fmt.Sprintf("%sbase-%d", id.prefix(), thin))
}

// thinUUIDPrefix begins the uuids of all thin devices of the pool.
func (id poolID) thinUUIDPrefix() string { return "CSIDM-" + string(id) + "-thin-" }

// thinUUID is the uuid of the device of a thin id, whatever its name. The kernel lets no two devices have one uuid, and so
// no two devices can be active on one thin id.
func (id poolID) thinUUID(thin uint32) devicemapper.UUID {
	return devicemapper.UUID(fmt.Sprintf("%s%d", id.thinUUIDPrefix(), thin))
}

// isBase tells such a device by its name.
func isBase(device devicemapper.Device, id poolID) bool {
	return strings.HasPrefix(string(device.Name), id.prefix()+"base-")
}
