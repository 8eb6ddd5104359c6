package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// serve serves the requests of package control until ctx ends.
func (s *supervisor) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+control.StatusPath, handle(func(r *http.Request, _ struct{}) (any, error) { return s.status(r.Context()), nil }))
	mux.HandleFunc("POST "+control.NodesPath, handle(func(r *http.Request, options control.NodeOptions) (any, error) {
		node, err := s.addNode(r.Context(), options)
		if err != nil {
			return nil, err
		}
		status := node.status()
		status.Ready = true
		return status, nil
	}))
	mux.HandleFunc("POST "+control.BootPath, handle(withNode(s, func(ctx context.Context, node *guestNode, _ *struct{}) (any, error) {
		return nil, s.boot(ctx, node)
	})))
	mux.HandleFunc("POST "+control.PowerCutPath, handle(withNode(s, func(_ context.Context, node *guestNode, _ *struct{}) (any, error) {
		return nil, node.cut()
	})))
	mux.HandleFunc("POST "+control.ExecPath, handle(withNode(s, func(ctx context.Context, node *guestNode, request control.ExecRequest) (any, error) {
		return node.exec(ctx, request)
	})))
	mux.HandleFunc("POST "+control.ImagesPath, handle(func(r *http.Request, request control.LoadImageRequest) (any, error) {
		return nil, s.loadImage(r.Context(), request.Archive)
	}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handle turns a function from one JSON document to another into a handler.
func handle[In any](do func(*http.Request, In) (any, error)) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		var in In
		if request.Method == http.MethodPost {
			if err := json.NewDecoder(request.Body).Decode(&in); err != nil {
				http.Error(writer, err.Error(), http.StatusBadRequest)
				return
			}
		}
		out, err := do(request, in)
		switch {
		case errors.Is(err, errNoSuchNode):
			http.Error(writer, err.Error(), http.StatusNotFound)
		case err != nil:
			http.Error(writer, err.Error(), http.StatusUnprocessableEntity)
		default:
			_ = json.NewEncoder(writer).Encode(out)
		}
	}
}

// withNode finds the node that a request's path names.
func withNode[In any](s *supervisor, do func(context.Context, *guestNode, In) (any, error)) func(*http.Request, In) (any, error) {
	return func(request *http.Request, in In) (any, error) {
		node, err := s.node(request.PathValue("name"))
		if err != nil {
			return nil, err
		}
		return do(request.Context(), node, in)
	}
}

// status asks everything how it is.
func (s *supervisor) status(ctx context.Context) control.Status {
	status := control.Status{Since: s.since, Kubeconfig: filepath.Join(s.config.Run, "kubeconfig")}
	for _, component := range s.plane.components {
		status.Components = append(status.Components, component.status())
	}
	// Kubernetes' opinion may be missing; the rest is true without.
	opinion := make(map[string]bool)
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if list, err := s.plane.client.CoreV1().Nodes().List(short, metav1.ListOptions{}); err == nil {
		for i := range list.Items {
			opinion[list.Items[i].Name] = ready(&list.Items[i])
		}
	}
	for _, node := range s.all() {
		nodeStatus := node.status()
		nodeStatus.Ready = opinion[nodeStatus.Name]
		status.Nodes = append(status.Nodes, nodeStatus)
	}
	return status
}

// loadImage loads an archive into every node that has power, and notes it for the others.
func (s *supervisor) loadImage(ctx context.Context, archive string) error {
	if !filepath.IsAbs(archive) {
		return fmt.Errorf("archive %q: want an absolute path", archive)
	}
	kept, err := s.images.add(archive)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, node := range s.all() {
		if node.running() {
			group.Go(func() error { return node.load(ctx, []string{kept}) })
		}
	}
	return group.Wait()
}
