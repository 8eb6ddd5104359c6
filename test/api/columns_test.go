//go:build e2e

package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// table is what kubectl get prints of a kind: column names, those without -o wide, and the cells of one object.
func table(t *testing.T, kind, name string) (all, narrow []string, cells map[string]string) {
	t.Helper()
	config := rest.CopyConfig(suite.config)
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(suite.Scheme()).WithoutConversion()
	kinds, err := rest.RESTClientFor(config)
	must(t, err)
	content, err := kinds.Get().Resource(kind).Name(name).SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	must(t, err)
	var printed metav1.Table
	must(t, json.Unmarshal(content, &printed))
	if len(printed.Rows) != 1 {
		t.Fatalf("%d rows for %s %s", len(printed.Rows), kind, name)
	}
	cells = map[string]string{}
	for i, column := range printed.ColumnDefinitions {
		all = append(all, column.Name)
		if column.Priority == 0 {
			narrow = append(narrow, column.Name)
		}
		cells[column.Name] = fmt.Sprint(printed.Rows[0].Cells[i])
	}
	return all, narrow, cells
}

// TestVolumeColumns: who asks for the ThinVolumes sees size, what they hold of the pool, node and claim.
func TestVolumeColumns(t *testing.T) {
	node := uniqueName("node")
	volume := volumeOn(node)
	volume.Name = uniqueName("columns")
	volume.Spec.Claim = &v1alpha1.ClaimReference{Namespace: "shop", Name: "database"}
	must(t, suite.Create(t.Context(), volume))
	t.Cleanup(func() { remove(t, volume) })
	before := volume.DeepCopy()
	q := func(text string) *resource.Quantity { return ptr.To(resource.MustParse(text)) }
	volume.Status = v1alpha1.ThinVolumeStatus{
		ThinID: ptr.To[int64](0), Size: q("1Gi"), Allocated: q("300Mi"), Exclusive: q("100Mi"),
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, LastTransitionTime: metav1.Now()},
			{Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionFalse, Reason: "Broken", LastTransitionTime: metav1.Now()},
		},
	}
	must(t, suite.Status().Patch(t.Context(), volume, client.MergeFrom(before)))
	all, narrow, cells := table(t, "thinvolumes", volume.Name)
	if want := []string{"Name", "Node", "Pool", "Size", "Allocated", "Exclusive", "Ready", "Reason", "Healthy", "Namespace", "Claim", "Age"}; !slices.Equal(narrow, want) {
		t.Errorf("columns are %v, want %v", narrow, want)
	}
	for _, wide := range []string{"Capacity", "FSType", "ThinID"} {
		if !slices.Contains(all, wide) {
			t.Errorf("with -o wide there is no column %s in %v", wide, all)
		}
	}
	for column, want := range map[string]string{
		"Name": volume.Name, "Node": node, "Pool": "rights", "Size": "1Gi", "Allocated": "300Mi", "Exclusive": "100Mi", "Ready": "True",
		"Reason": "Ready", "Healthy": "False", "Namespace": "shop", "Claim": "database", "Capacity": "1Gi", "FSType": "ext4", "ThinID": "0",
	} {
		if cells[column] != want {
			t.Errorf("column %s says %q, want %q", column, cells[column], want)
		}
	}
}
