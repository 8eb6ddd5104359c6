//go:build kernel

package agent

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// passed sees that each step came by a place, and by all the failpoints that it has to pass: only there can it be killed.
func passed(t *testing.T, places []killPlace) {
	t.Helper()
	for _, step := range lifeSteps {
		if !slices.ContainsFunc(places, func(p killPlace) bool { return p.Step == step.name }) {
			t.Errorf("%s came by no place", step.name)
		}
		for _, start := range step.passes {
			known := 0
			for _, failpoint := range thinpool.Failpoints() {
				if !strings.HasPrefix(failpoint, start) {
					continue
				}
				known++
				if !slices.Contains(places, killPlace{step.name, failpoint}) {
					t.Errorf("%s did not come by the failpoint %q", step.name, failpoint)
				}
			}
			if known == 0 {
				t.Errorf("%s has to pass %q, and no failpoint begins so", step.name, start)
			}
		}
	}
}

// livesThrough spreads the places over as few lives as there can be if each step is killed once at most in each: what is wrong after a
// kill shows when its step is asked for again, and the kills in later steps need no life of their own.
func livesThrough(places []killPlace) []map[string]string {
	var lives []map[string]string
	of := map[string]int{}
	for _, place := range places {
		life := of[place.Step]
		of[place.Step]++
		if life == len(lives) {
			lives = append(lives, map[string]string{})
		}
		lives[life][place.Step] = place.Name
	}
	return lives
}

// liveOn runs one process after the other, each from the step in which the one before was killed, until one comes to the life's end.
func liveOn(t *testing.T, job killedJob) {
	t.Helper()
	left := maps.Clone(job.Kills)
	for {
		job.Kills = left
		result := runKilled(t, job)
		for _, step := range lifeSteps[job.From:result.next] {
			if place, ok := left[step.name]; ok {
				t.Fatalf("%s is done, and the process did not come to %q", step.name, place)
			}
		}
		if result.next == len(lifeSteps) && !result.killed {
			return
		}
		if !result.killed {
			t.Fatalf("the process ended before %s was done", lifeSteps[result.next].name)
		}
		step := lifeSteps[result.next].name
		place, asked := left[step]
		if !asked {
			t.Fatalf("the process was killed in %s, and not by this test", step)
		}
		t.Logf("killed in %s at %q", step, place)
		delete(left, step)
		job.From, job.Objects = result.next, result.objects
	}
}
