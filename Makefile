# csi-dm: every target installs what it needs, pins it, caches it under CSI_DM_CACHE and says in one line what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

export CSI_DM_CACHE ?= $(HOME)/.cache/csi-dm
export GOFLAGS ?= -buildvcs=false
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

CONTROLLER_GEN = hack/install-tool.sh controller-gen sigs.k8s.io/controller-tools/cmd/controller-gen v0.23.0
GOLANGCI_LINT  = hack/install-tool.sh golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
HELM           = hack/install-tool.sh helm helm.sh/helm/v4/cmd/helm v4.3.1
GO_BUILD       = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X github.com/csi-dm/csi-dm/pkg/version.version=$(VERSION)'

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: build
build: require-go ## Build the csi-dm binary into bin/
	@$(GO_BUILD) -o bin/csi-dm ./cmd/csi-dm

##### Tests

.PHONY: test
test: unit-test chart-test kernel-test crash-short api-test e2e-main-test ## Run the tests: unit, chart, kernel, crash, API server, end to end of the main job

.PHONY: test-all
test-all: unit-test chart-test kernel-harness-test kernel-test crash-short api-test lab-test e2e-test ## Run those and what takes too long for each change

.PHONY: unit-test
unit-test: require-go ## Run the tests that need no kernel and no cluster, with the race detector
	@hack/install-debian.sh race filesystems
	@CGO_ENABLED=1 go test -race -timeout 10m ./...

.PHONY: check
check: lint generate-check ## Run the linters and see that generated files are current

.PHONY: lint
lint: require-go ## Run golangci-lint, the rule of layers included
	@lint=$$($(GOLANGCI_LINT)) && $$lint run ./... && $$lint run --build-tags kernel,uml,e2e,chart ./...

.PHONY: ci
ci: check test ## What CI runs

##### Generated files

.PHONY: generate
generate: generate-api generate-chart ## Write deep copies, CRDs, manifests and chart documentation anew

.PHONY: generate-api
generate-api: require-go
	@generator=$$($(CONTROLLER_GEN)) && $$generator object paths=./api/...

.PHONY: generate-check
generate-check: generate ## Fail if a generated file is not current
	@changed=$$(git status --porcelain -- $(GENERATED)); \
	if [ -n "$$changed" ]; then \
		echo "generated files are not current: run 'make generate' and commit:"; echo "$$changed"; exit 1; \
	fi

GENERATED = api charts deploy docs

.PHONY: require-go
require-go:
	@command -v go >/dev/null || { echo "Go is missing: install Go $$(sed -n 's/^go //p' go.mod) or later and put it into PATH" >&2; exit 1; }

include $(wildcard hack/make/*.mk)
