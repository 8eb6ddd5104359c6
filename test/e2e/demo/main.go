// Demo shows in a terminal, on a real kernel and a real Kubernetes, how a pod's claim becomes a thin volume and how pods go where
// there is room. It brings a lab up if none is, installs csi-dm, and leaves all of it for a look around.
//
// Every step checks what it says; the exit status is 1 if one does not hold.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// limit is for everything, a first build of Kubernetes included.
const limit = 45 * time.Minute

func main() { os.Exit(show()) }

// show runs the demo and returns the exit status.
func show() int {
	log.SetLogger(klog.Background())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d := &demo{narrator: newNarrator(os.Stdout)}
	if err := d.run(ctx); err != nil {
		d.failed(err)
		if d.cluster != nil {
			d.file("what the cluster says", d.cluster.Diagnose(context.WithoutCancel(ctx), namespace, deployment.Namespace))
		}
		return 1
	}
	return 0
}

func (d *demo) run(ctx context.Context) error {
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"A cluster whose nodes have a device mapper", d.bringUp},
		{"csi-dm, installed by its chart", d.install},
		{"A thin pool on each node", d.showPools},
		{"A pod writes to a thin volume", d.firstPod},
		{"The volume is a snapshot of a formatted base", d.explainBase},
		{"The next volume of that size finds its base there", d.secondPod},
		{"What each node can still take", d.showCapacity},
		{"A pod goes where there is room", d.steer},
	}
	start := time.Now()
	for index, step := range steps {
		d.title(fmt.Sprintf("%d. %s", index+1, step.title))
		begun := time.Now()
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
		d.took(time.Since(begun))
	}
	d.title(fmt.Sprintf("Done, in %s", time.Since(start).Round(100*time.Millisecond)))
	d.farewell()
	return nil
}
