//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// TestCloneChain: a claim is cloned on its node in an instant, in use or not, and so is the clone, ten times. Each holds what those
// before it held, and none sees what is written to another later.
func TestCloneChain(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	const links = 10
	f := newFixture(t, 15*time.Minute)
	node := suite.nodes[0]
	name := func(link int) string { return fmt.Sprintf("link-%d", link) }
	f.claim(name(0), classExt4, 64*mebibyte)
	want := ""
	// Pods at the beginning, in the middle and at the end: what lies between was never mounted.
	visit := func(link int) {
		t.Helper()
		pod := f.run(cluster.Pod{Name: name(link), Claim: name(link), Node: node})
		if found := f.shell(pod, "cd /data; cat written-* 2>/dev/null || true"); found != want {
			t.Errorf("%s holds %q, want %q", name(link), found, want)
		}
		f.shell(pod, fmt.Sprintf("echo %d >/data/written-%02d", link, link)) // not synced: a clone has it nevertheless
		if want != "" {
			want += "\n"
		}
		want += fmt.Sprint(link)
	}
	visit(0)
	for link := 1; link <= links; link++ {
		began := time.Now()
		claim, err := f.CreateClaim(f.ctx, cluster.Claim{
			Namespace: f.namespace, Name: name(link), Class: classExt4, Size: 64 * mebibyte, Node: node, Clone: name(link - 1),
		})
		f.must(err)
		_, err = f.AwaitBound(f.ctx, bindPatience, claim)
		f.must(err)
		t.Logf("%s was bound after %s", name(link), time.Since(began).Round(10*time.Millisecond))
		if link == links/2 || link == links {
			visit(link)
		}
	}
}
