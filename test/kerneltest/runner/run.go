package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
)

// Run runs the kernel tests of the packages and shows what happens on Output. The error wraps ErrFailed if the tests ran
// but not well. Ending ctx ends the guests.
func Run(ctx context.Context, options Options) (err error) {
	options.Output = &lockedWriter{target: options.Output}
	packages, err := findPackages(ctx, options.Packages)
	if err != nil {
		return err
	}
	bench, err := newBench(options.Cache, options.DiskSize)
	defer func() { err = errors.Join(err, bench.remove()) }()
	if err != nil {
		return err
	}
	run := &run{options: options, bench: bench}
	if err := run.build(ctx, packages); err != nil {
		return err
	}
	if err := run.runAll(ctx); err != nil {
		return err
	}
	if err := reportCoverage(ctx, run.coverage, options.CoverProfile, options.Output); err != nil {
		return err
	}
	return run.verdict()
}

// run is the state of one Run.
type run struct {
	options Options
	bench   *bench
	// steps are the packages, those first that take long.
	steps []job.Step

	mutex          sync.Mutex // for what follows
	failedPackages []string
	// coverage are the directories with coverage of finished packages.
	coverage []string
	testsRun int
}

// build makes the steps.
func (r *run) build(ctx context.Context, packages []testPackage) error {
	begin := time.Now()
	if r.guests(len(packages)) > 1 {
		slices.SortStableFunc(packages, func(a, b testPackage) int { return cmp.Compare(b.testCode(), a.testCode()) })
	}
	binaries, err := buildTests(ctx, packages, r.bench.directory)
	if err != nil {
		return err
	}
	if r.bench.init, err = buildGuest(ctx, r.bench.directory); err != nil {
		return err
	}
	fmt.Fprintf(r.options.Output, "built the kernel tests of %d packages in %.1fs\n", len(packages), time.Since(begin).Seconds())
	for i, binary := range binaries {
		coverage := r.coverageDirectory(packages[i].ImportPath)
		if err := os.MkdirAll(coverage, 0o755); err != nil {
			return err
		}
		r.steps = append(r.steps, job.Step{
			Name:      packages[i].ImportPath,
			Command:   slices.Concat([]string{binary, "-test.gocoverdir=" + coverage}, r.testArguments(), r.options.Arguments),
			Directory: packages[i].Dir,
		})
	}
	return nil
}

func (r *run) coverageDirectory(name string) string {
	return filepath.Join(r.bench.directory, "coverage", strings.ReplaceAll(name, "/", "-"))
}

func (r *run) testArguments() []string {
	options := r.options
	arguments := []string{"-test.v=test2json", "-test.paniconexit0", "-test.timeout=" + options.Timeout.String()}
	if options.Count > 0 {
		arguments = append(arguments, "-test.count="+strconv.Itoa(options.Count))
	}
	if options.Run != "" {
		arguments = append(arguments, "-test.run="+options.Run)
	}
	if options.Bench != "" {
		arguments = append(arguments, "-test.bench="+options.Bench)
	}
	if options.Short {
		arguments = append(arguments, "-test.short")
	}
	return arguments
}

// guests is how many guests run at a time for that many packages.
func (r *run) guests(packages int) int { return max(1, min(r.options.Guests, packages)) }

// runAll gives each package a guest of its own.
func (r *run) runAll(ctx context.Context) error {
	next := make(chan job.Step, len(r.steps))
	for _, step := range r.steps {
		next <- step
	}
	close(next)
	guests := r.guests(len(r.steps))
	group, ctx := errgroup.WithContext(ctx)
	for number := range guests {
		group.Go(func() error {
			lane, err := r.newLane(number, guests > 1)
			if err != nil {
				return err
			}
			for step := range next {
				if err := lane.do(ctx, step); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *run) verdict() error {
	if len(r.failedPackages) > 0 {
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(r.failedPackages, ", "))
	}
	if r.testsRun == 0 {
		return fmt.Errorf("%w: no test of any package was run", ErrFailed)
	}
	return nil
}
