package parameters

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// Inline is what a pod asks of an inline ephemeral volume.
type Inline struct {
	Pool string
	// Size in bytes, greater than 0.
	Size int64
	// Format has a type.
	Format filesystem.Format
	// PodUID is the pod's, as kubelet says it. It is not checked here.
	PodUID string
}

// What kubelet adds to a volume's attributes where the CSIDriver asks for it (podInfoOnMount). It writes over what a pod has
// under these keys.
const (
	keyPodName        = "csi.storage.k8s.io/pod.name"
	keyPodNamespace   = "csi.storage.k8s.io/pod.namespace"
	keyPodUID         = "csi.storage.k8s.io/pod.uid"
	keyServiceAccount = "csi.storage.k8s.io/serviceAccount.name"
	keyEphemeral      = "csi.storage.k8s.io/ephemeral"
)

var (
	podInfoKeys = []string{keyPodName, keyPodNamespace, keyPodUID, keyServiceAccount, keyEphemeral}
	// inlineKeys are the keys that a pod may use.
	inlineKeys = []string{v1alpha1.ParameterPool, v1alpha1.AttributeSize, v1alpha1.ParameterMkfsOptions, v1alpha1.ParameterFSType}
)

// IsInline tells by kubelet's own attribute whether a volume is an inline ephemeral one. The error is an *Error.
func IsInline(attributes map[string]string) (bool, error) {
	switch value, ok := attributes[keyEphemeral]; {
	case !ok, value == "false":
		return false, nil
	case value == "true":
		return true, nil
	default:
		return false, &Error{keyEphemeral, value, "true or false"}
	}
}

// ParseInline reads the attributes of an inline ephemeral volume. fsType is what the pod's csi.fsType says, or empty; limit is the
// largest size, in bytes. Errors are those of Parse.
func ParseInline(attributes map[string]string, fsType filesystem.Type, limit int64) (Inline, error) {
	class := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		switch {
		case slices.Contains(podInfoKeys, key), key == v1alpha1.AttributeSize:
		case slices.Contains(inlineKeys, key):
			class[key] = attributes[key]
		default:
			return Inline{}, &UnknownKeyError{Key: key, Allowed: inlineKeys}
		}
	}
	defaultType := fsType
	if defaultType == "" {
		defaultType = DefaultType
	}
	parsed, err := Parse(class, defaultType)
	if err != nil {
		return Inline{}, err
	}
	if fsType != "" && parsed.Format.Type != "" && parsed.Format.Type != fsType {
		return Inline{}, &Error{v1alpha1.ParameterFSType, string(parsed.Format.Type), fmt.Sprintf("the volume's fsType is %q: leave one of them out", fsType)}
	}
	if parsed.Format.Type == "" {
		parsed.Format.Type = defaultType
	}
	size, err := inlineSize(attributes[v1alpha1.AttributeSize], limit)
	if err != nil {
		return Inline{}, err
	}
	return Inline{Pool: parsed.Pool, Size: size, Format: parsed.Format, PodUID: attributes[keyPodUID]}, nil
}

// sizePattern is the quantities that an attribute may have: those with an exponent can take for ever to be read.
var sizePattern = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$`)

func inlineSize(text string, limit int64) (int64, error) {
	allowed := fmt.Sprintf("a quantity such as 1Gi is required, at most %s", resource.NewQuantity(limit, resource.BinarySI))
	refused := &Error{v1alpha1.AttributeSize, text, allowed}
	if !sizePattern.MatchString(text) {
		return 0, refused
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil || quantity.Sign() <= 0 || quantity.CmpInt64(limit) > 0 {
		return 0, refused
	}
	return quantity.Value(), nil
}
