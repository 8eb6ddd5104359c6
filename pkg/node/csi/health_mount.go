package csi

import (
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// mountPlace is where kubelet says that a volume should be mounted.
type mountPlace struct{ field, path string }

func mountPlaces(request *csi.NodeGetVolumeHealthRequest) []mountPlace {
	var places []mountPlace
	for _, place := range []mountPlace{{fieldStagingPath, request.GetStagingTargetPath()}, {fieldPublishPath, request.GetVolumePublishPath()}} {
		if place.path != "" {
			places = append(places, place)
		}
	}
	return places
}

// mountHealth tells which of the places do not have the volume, and gives one that has it. A volume without a file system is not
// mounted anywhere.
func (n *Node) mountHealth(volume pools.Located, device string, places []mountPlace) (problems []volumehealth.Problem, path string, err error) {
	if volume.Format.Type == "" {
		return nil, "", nil
	}
	for _, place := range places {
		problem, err := n.mountProblem(device, place)
		if err != nil {
			return nil, "", inField(place.field, err)
		}
		if problem == nil {
			path = place.path
			continue
		}
		problems = append(problems, *problem)
	}
	return problems, path, nil
}

// mountProblem is what is wrong at a place, or nil.
func (n *Node) mountProblem(device string, place mountPlace) (*volumehealth.Problem, error) {
	problem := func(reason, format string, arguments ...any) (*volumehealth.Problem, error) {
		made := volumehealth.New(reason, fmt.Sprintf(format, arguments...))
		return &made, nil
	}
	directory, err := n.config.Kubelet.Open(place.path)
	if errors.Is(err, os.ErrNotExist) {
		return problem(v1alpha1.ReasonNotMounted, "%s does not exist", place.path)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = directory.Close() }()
	point, err := filesystem.Inspect(directory)
	switch {
	case errors.Is(err, unix.EIO):
		return nil, nil // it is mounted, and its file system says what is wrong
	case err != nil:
		return nil, err
	case !point.Mounted:
		return problem(v1alpha1.ReasonNotMounted, "nothing is mounted on %s", place.path)
	}
	same := false
	if device != "" {
		if same, err = point.IsDevice(device); err != nil {
			return nil, err
		}
	}
	if !same {
		return problem(v1alpha1.ReasonOtherMount, "device %d:%d is mounted on %s, which is not the volume's", point.Major, point.Minor, place.path)
	}
	return nil, nil
}
