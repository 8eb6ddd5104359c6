package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/lab/image"
)

// clean makes an empty namespace: an earlier run may have left its pods and claims.
func (d *demo) clean(ctx context.Context) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	err := d.cluster.Create(ctx, object.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	d.say("An earlier run's pods and claims are removed first.")
	if err := d.cluster.EmptyNamespace(ctx, namespace); err != nil {
		return err
	}
	if err := d.cluster.AwaitGone(ctx, podPatience, object); err != nil {
		return err
	}
	return d.cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

func classManifest() string {
	return fmt.Sprintf(`apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %s}
provisioner: %s
volumeBindingMode: WaitForFirstConsumer
parameters: {%s: ext4}
`, class, v1alpha1.DriverName, v1alpha1.ParameterFSType)
}

func podManifest(name string, size int64, preferred string) string {
	affinity := ""
	if preferred != "" {
		affinity = fmt.Sprintf(`
  affinity:
    nodeAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference: {matchExpressions: [{key: %s, operator: In, values: [%s]}]}`, corev1.LabelHostname, preferred)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  storageClassName: %[3]s
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: %[4]dMi}}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s}
spec:%[5]s
  terminationGracePeriodSeconds: 2
  containers:
  - name: main
    image: %[6]s
    imagePullPolicy: Never
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: %[1]s}
`, name, namespace, class, size>>20, affinity, image.Busybox)
}
