package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// supervisor is the process that runs the lab.
type supervisor struct {
	config Config
	since  time.Time
	// lifetime ends with the lab.
	lifetime context.Context
	images   *imageStore
	// report tells "lab up" what happens while the lab comes up.
	report func(string)
	plane  *controlPlane
	// planeReady is closed once plane answers.
	planeReady chan struct{}

	// template is held while the template is looked for and made.
	template sync.Mutex

	mutex sync.Mutex
	// nodes has a nil for a name that is taken by a node in the making; taken counts the indices given away.
	nodes map[string]*guestNode
	taken int
}

// Supervise brings the lab up, reports that, and serves requests until ctx ends. It runs in the lab's namespaces, as a child
// of Init.
func Supervise(ctx context.Context, configFile string) error {
	config, err := ReadConfig(configFile)
	if err != nil {
		return err
	}
	// No child may hold these open: their end is a message.
	unix.CloseOnExec(ListenerDescriptor)
	unix.CloseOnExec(ReportDescriptor)
	pipe := os.NewFile(ReportDescriptor, "reports")
	defer pipe.Close()
	reports := json.NewEncoder(pipe)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &supervisor{
		config: config, since: time.Now(), lifetime: ctx,
		images: newImageStore(filepath.Join(config.Disks, "images"), config.Images),
		nodes:  make(map[string]*guestNode), planeReady: make(chan struct{}),
	}
	var mutex sync.Mutex
	report := func(message Report) {
		mutex.Lock()
		defer mutex.Unlock()
		// Whoever wanted to know may be gone.
		_ = reports.Encode(message)
	}
	listener, err := s.up(ctx, func(line string) { report(Report{Line: line}) })
	if err != nil {
		report(Report{Error: err.Error()})
		return err
	}
	report(Report{Up: true})
	_ = pipe.Close()
	return s.serve(ctx, listener)
}

// up starts everything and returns the listener for requests.
func (s *supervisor) up(ctx context.Context, report func(string)) (net.Listener, error) {
	if err := setUpNetwork(ctx); err != nil {
		return nil, err
	}
	if err := collectLogs(ctx, filepath.Join(s.config.Run, "logs")); err != nil {
		return nil, err
	}
	loopback, err := net.FileListener(os.NewFile(ListenerDescriptor, "listener"))
	if err != nil {
		return nil, fmt.Errorf("listener on the host's loopback: %w", err)
	}
	s.plane, err = prepareControlPlane(s.config, loopback.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return nil, err
	}
	go forward(ctx, loopback, net.JoinHostPort(gateway, apiPort)) // ends with ctx, and so with the lab

	// Nodes boot and load images while the control plane starts.
	group, groupContext := errgroup.WithContext(ctx)
	s.report = report
	group.Go(func() error {
		// Not groupContext: the components live as long as the lab.
		if err := s.plane.start(ctx, s.config); err != nil {
			return err
		}
		report("control plane ready after " + s.elapsed())
		close(s.planeReady)
		return s.plane.awaitUsable(groupContext)
	})
	for _, options := range s.config.Nodes {
		group.Go(func() error {
			node, err := s.addNode(groupContext, options)
			if err == nil {
				report(node.options.Name + " Ready after " + s.elapsed())
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := s.linkTools(); err != nil {
		return nil, err
	}
	return net.Listen("unix", filepath.Join(s.config.Run, control.Socket))
}

func (s *supervisor) elapsed() string {
	return time.Since(s.since).Round(100 * time.Millisecond).String()
}

// linkTools gives people and tests the programs under their usual names.
func (s *supervisor) linkTools() error {
	folder := filepath.Join(s.config.Run, "bin")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, target := range map[string]string{
		"kubectl": s.config.Programs.Kubernetes, "helm": s.config.Programs.Helm, "csi-sanity": s.config.Programs.Sanity,
	} {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

// addNode makes a node and boots it. A node that does not come up keeps its place, for its logs to be looked at and for another boot.
func (s *supervisor) addNode(ctx context.Context, options control.NodeOptions) (*guestNode, error) {
	index, options, err := s.reserve(options)
	if err != nil {
		return nil, err
	}
	node, err := newNode(ctx, s.config, s.plane, index, options)
	if err == nil {
		err = s.giveDisks(ctx, node)
	}
	s.mutex.Lock()
	if err != nil {
		delete(s.nodes, options.Name)
	} else {
		s.nodes[options.Name] = node
	}
	s.mutex.Unlock()
	if err != nil {
		return nil, err
	}
	return node, s.boot(ctx, node)
}

var errNoSuchNode = errors.New("no such node")

// node returns a node that has been made.
func (s *supervisor) node(name string) (*guestNode, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if node := s.nodes[name]; node != nil {
		return node, nil
	}
	return nil, fmt.Errorf("%w: %q", errNoSuchNode, name)
}

// all returns the nodes that have been made, in order of name.
func (s *supervisor) all() []*guestNode {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var nodes []*guestNode
	for _, node := range s.nodes {
		if node != nil {
			nodes = append(nodes, node)
		}
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].options.Name < nodes[j].options.Name })
	return nodes
}
