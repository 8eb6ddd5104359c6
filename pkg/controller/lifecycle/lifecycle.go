package lifecycle

import (
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// Options of the reconcilers.
type Options struct {
	// Grace is Volumes.Grace.
	Grace time.Duration
	// Pools are applied once at the start.
	Pools []NamedPool
}

// AddTo adds the reconcilers to a manager.
func AddTo(mgr manager.Manager, v *view.View, options Options) error {
	reader, live := mgr.GetClient(), mgr.GetAPIReader()
	recorder := mgr.GetEventRecorder("csi-dm-controller")
	err := errors.Join(
		(&Parts{Client: reader, Live: live, View: v}).addTo(mgr),
		(&ThinPools{Client: reader, Live: live, View: v}).addTo(mgr),
		(&Volumes{Client: reader, Live: live, View: v, Grace: options.Grace}).addTo(mgr),
		sweepSnapshots(reader, live, v, options.Grace).addTo(mgr),
		sweepGroups(reader, live, v, options.Grace).addTo(mgr),
		(&Announcer{Client: reader, Recorder: recorder}).addTo(mgr),
		(&Claims{Client: reader, View: v, Recorder: recorder}).addTo(mgr),
		(&Classes{Client: reader, View: v, Recorder: recorder}).addTo(mgr),
	)
	if len(options.Pools) > 0 {
		err = errors.Join(err, mgr.Add(&Applier{Client: reader, Pools: options.Pools}))
	}
	return err
}
