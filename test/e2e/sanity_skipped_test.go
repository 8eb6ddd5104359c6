//go:build e2e

package e2e

const (
	noAttributesClass  = "the driver has no VolumeAttributesClasses: it changes no volume"
	noAttachment       = "a volume is on the node that uses it, and nothing attaches it: the CSIDriver says attachRequired: false"
	noSnapshotTopology = "a snapshot is on the node of its source, which its volumes' topology says: the driver asks for no topology of snapshots"
	switchedOff        = "csi-sanity itself has it switched off (XIt)"
)

// notRun names the cases of csi-sanity that do not run, each with the reason.
var notRun = map[string]string{
	"Controller Service [Controller Server]: ListVolumes: pagination should detect volumes added between pages and accept tokens when the last volume from a page is deleted": switchedOff,

	"CreateSnapshot [Controller Server]: should succeed when creating a snapshot with accessibility requirements": noSnapshotTopology,

	"Controller Service [Controller Server]: CreateVolume: should create volume with a volume attribute class":                                                     noAttributesClass,
	"Controller Service [Controller Server]: CreateVolume: should not create volume with an invalid volume attribute class":                                        noAttributesClass,
	"ModifyVolume [Controller Server]: should fail if no volume id is given":                                                                                       noAttributesClass,
	"ModifyVolume [Controller Server]: should fail if volume does not exist":                                                                                       noAttributesClass,
	"ModifyVolume [Controller Server]: should fail if specified mutable parameters are not supported by the volume":                                                noAttributesClass,
	"ModifyVolume [Controller Server]: should modify a volume created without a volume attribute class":                                                            noAttributesClass,
	"ModifyVolume [Controller Server]: should modify a volume created with a volume attribute class":                                                               noAttributesClass,
	"ModifyVolume [Controller Server]: should fail to modify a volume created with a volume attribute class if new mutable parameters are not supported by volume": noAttributesClass,

	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when no volume id is provided":                               noAttachment,
	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when no node id is provided":                                 noAttachment,
	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when no volume capability is provided":                       noAttachment,
	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when publishing more volumes than the node max attach limit": noAttachment,
	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when the volume does not exist":                              noAttachment,
	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when the node does not exist":                                noAttachment,
	"Controller Service [Controller Server]: ControllerPublishVolume: should fail when the volume is already published but is incompatible":    noAttachment,
	"Controller Service [Controller Server]: ControllerUnpublishVolume: should fail when no volume id is provided":                             noAttachment,
	"Controller Service [Controller Server]: volume lifecycle: should work":                                                                    noAttachment,
	"Controller Service [Controller Server]: volume lifecycle: should be idempotent":                                                           noAttachment,
}
