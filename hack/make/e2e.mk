# End-to-end tests and the demo, on a lab's cluster: docs/testing-e2e.md.
#   make e2e-test RUN=TestData   only the tests that match
#   make e2e-test KEEP=1         leave the lab up that the tests brought up
RUN  ?=
KEEP ?=
E2E_TIMEOUT ?= 90m
E2E_TEST = KEEP=$(KEEP) go test -tags e2e -count 1 -timeout $(E2E_TIMEOUT) -parallel 2 -v $(if $(RUN),-run '$(RUN)')

.PHONY: e2e-test
e2e-test: lab-programs require-e2e ## Run all end-to-end tests on a lab's cluster (RUN=TestX, KEEP=1)
	@$(E2E_TEST) ./test/e2e

.PHONY: e2e-main-test
e2e-main-test: lab-programs require-e2e ## Run those of the main job, snapshots and growth, and csi-sanity
	@$(E2E_TEST) -short ./test/e2e

.PHONY: demo
demo: require-go require-e2e ## Show a pod's claim become a thin volume, on a cluster that stays up
	@go run ./test/e2e/demo

.PHONY: require-e2e
require-e2e:
	@hack/install-debian.sh lab images
