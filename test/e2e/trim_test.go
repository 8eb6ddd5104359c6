//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// TestTrim: what pods delete in their volumes comes back to the pool at the agent's next trim, and the metric says so. The lab's agents trim
// every deployment.TrimInterval.
func TestTrim(t *testing.T) {
	beyondMainJob(t)
	const size, written = 320 * mebibyte, 64 * mebibyte
	f := newFixture(t, 8*time.Minute)
	node := suite.nodes[0]
	pool, err := suite.deployment.AwaitPool(f.ctx, node)
	f.must(err)
	for name, class := range map[string]string{"ext4": classExt4, "xfs": classXFS} {
		f.claim(name, class, size)
		pod := f.run(cluster.Pod{Name: name, Claim: name, Node: node})
		line := "cd " + cluster.MountPath + "; echo kept >kept; dd if=/dev/urandom of=blob bs=1M count=" + strconv.Itoa(written/mebibyte) + " conv=fsync 2>/dev/null"
		f.shell(pod, line)
		full, freed := f.usedBytes(node, pool), f.trimmedBytes(node)
		f.shell(pod, "cd "+cluster.MountPath+"; rm blob; sync .")
		f.must(cluster.Await(f.ctx, 3*deployment.TrimInterval, "the pool to have its blocks back", func(context.Context) (string, error) {
			if used := f.usedBytes(node, pool); used > full-written*3/4 {
				return fmt.Sprintf("it uses %d bytes, %d before %d were deleted", used, full, written), nil
			}
			return "", nil
		}))
		f.must(cluster.Await(f.ctx, time.Minute, "the metric to say so", func(context.Context) (string, error) {
			if now := f.trimmedBytes(node); now < freed+written*3/4 {
				return fmt.Sprintf("it is %d, before it was %d", now, freed), nil
			}
			return "", nil
		}))
		if kept := f.shell(pod, "cat "+cluster.MountPath+"/kept"); kept != "kept" {
			f.Errorf("%s: what was not deleted is %q", name, kept)
		}
		f.must(f.DeletePod(f.ctx, deletionPatience, pod))
	}
}

// trimmedBytes is what a node's agent says that its trims gave back.
func (f *fixture) trimmedBytes(node string) int64 {
	f.Helper()
	pod, err := suite.deployment.NodePod(f.ctx, node)
	f.must(err)
	metrics, err := f.Kubectl(f.ctx, "get", "--raw", "/api/v1/namespaces/"+deployment.Namespace+"/pods/"+pod+":9809/proxy/metrics")
	f.must(err)
	for _, line := range strings.Split(metrics, "\n") {
		if value, found := strings.CutPrefix(line, `csi_dm_trim_freed_bytes_total{pool="default"} `); found {
			bytes, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			f.must(err)
			return int64(bytes)
		}
	}
	return 0 // nothing was counted yet
}
