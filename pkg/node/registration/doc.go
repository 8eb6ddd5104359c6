// Package registration makes kubelet know the driver, without a sidecar.
//
// Kubelet watches its directory plugins_registry. A socket that appears there is asked what it stands for (GetInfo), and
// told what became of it (NotifyRegistrationStatus). The socket must only appear once the CSI service answers, because
// kubelet calls it at once; when the socket goes, kubelet forgets the driver.
package registration
