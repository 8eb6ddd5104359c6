//go:build e2e

package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/csi-dm/csi-dm/pkg/controller"
	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/toolchain"
)

// namespace is where the chart is installed.
const namespace = "csi-dm"

// suite is the API server that all tests share.
var suite struct {
	config *rest.Config
	// Client has an admin's rights.
	client.WithWatch
	auditLog   string
	tools      *toolchain.Toolchain
	helm       string
	repository string
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(klog.Background())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "test/api:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	paths, err := lab.DefaultPaths()
	if err != nil {
		return 1, err
	}
	tools, err := toolchain.Build(ctx, paths.Cache, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return 1, err
	}
	suite.helm = tools.Program("helm", "helm")
	if suite.repository, err = toolchain.Repository(ctx); err != nil {
		return 1, err
	}
	folder, err := os.MkdirTemp("", "csi-dm-api-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(folder)
	suite.tools = tools
	suite.auditLog = filepath.Join(folder, "audit.log")
	environment, err := startServer(folder, envtest.CRDInstallOptions{
		Paths:              []string{filepath.Join(suite.repository, "charts", "csi-dm", "templates", "crds")},
		ErrorIfPathMissing: true,
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	scheme, err := controller.Scheme()
	if err != nil {
		return 1, err
	}
	suite.config = environment.Config
	suite.config.QPS, suite.config.Burst = 500, 1000
	if suite.WithWatch, err = client.NewWithWatch(suite.config, client.Options{Scheme: scheme}); err != nil {
		return 1, err
	}
	if err := suite.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return 1, err
	}
	if err := applyChart(ctx, "templates/controller/rbac.yaml", "templates/node/rbac.yaml", "templates/node/admissionpolicy.yaml",
		"templates/controller/serviceaccount.yaml", "templates/node/serviceaccount.yaml", "templates/csidriver.yaml"); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// startServer starts etcd and kube-apiserver on loopback, with an audit log in folder that has every write, and installs kinds.
func startServer(folder string, kinds envtest.CRDInstallOptions) (*envtest.Environment, error) {
	// The multi-call binary is what it is called.
	program := func(name string) (string, error) {
		path := filepath.Join(folder, name)
		return path, os.Symlink(suite.tools.Program("kubernetes", "kubernetes"), path)
	}
	server, err := program("kube-apiserver")
	if err != nil {
		return nil, err
	}
	etcd, err := program("etcd")
	if err != nil {
		return nil, err
	}
	policy := filepath.Join(folder, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	environment := &envtest.Environment{CRDInstallOptions: kinds, ControlPlaneStartTimeout: time.Minute}
	environment.ControlPlane.GetAPIServer().Path = server
	environment.ControlPlane.GetAPIServer().Configure().
		Append("audit-policy-file", policy).
		Append("audit-log-path", filepath.Join(folder, "audit.log")).
		Append("allow-privileged", "true")
	environment.ControlPlane.Etcd = &envtest.Etcd{Path: etcd}
	if _, err := environment.Start(); err != nil {
		return nil, err
	}
	return environment, nil
}
