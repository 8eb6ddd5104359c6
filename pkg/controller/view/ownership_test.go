package view

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func TestSelector(t *testing.T) {
	node := labels.Set{"disk": "nvme"}
	for name, c := range map[string]struct {
		selector            *metav1.LabelSelector
		everywhere, matches bool
	}{
		"absent": {nil, true, true},
		"empty":  {&metav1.LabelSelector{}, true, true},
		"label":  {&metav1.LabelSelector{MatchLabels: map[string]string{"disk": "nvme"}}, false, true},
		"other":  {&metav1.LabelSelector{MatchLabels: map[string]string{"disk": "hdd"}}, false, false},
		"expression": {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "disk", Operator: metav1.LabelSelectorOpExists}}}, false, true},
	} {
		pool := &v1alpha1.ThinPool{Spec: v1alpha1.ThinPoolSpec{NodeSelector: c.selector}}
		selector, everywhere, err := Selector(pool)
		if err != nil || everywhere != c.everywhere || selector.Matches(node) != c.matches {
			t.Errorf("%s: matches %t, everywhere %t, %v", name, selector.Matches(node), everywhere, err)
		}
	}
	bad := &v1alpha1.ThinPool{Spec: v1alpha1.ThinPoolSpec{NodeSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "disk", Operator: "Near"}}}}}
	var selectorError *SelectorError
	if _, _, err := Selector(bad); !errors.As(err, &selectorError) {
		t.Errorf("a bad operator gave %v", err)
	}
}
