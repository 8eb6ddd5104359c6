# Kernel tests: run inside a User Mode Linux guest. docs/testing-kernel.md explains the options.

# Packages to test: PKG="./pkg/thinpool ./pkg/node/..."
PKG ?=
KERNEL_TEST_FLAGS = $(if $(RUN),-run '$(RUN)') $(if $(BENCH),-bench '$(BENCH)') $(if $(COUNT),-count $(COUNT)) \
	$(if $(MEM),-memory $(MEM)) $(if $(TIMEOUT),-timeout $(TIMEOUT)) $(if $(V),-v) $(if $(SHORT),-short) \
	$(if $(COVERPROFILE),-coverprofile $(COVERPROFILE))

.PHONY: kernel-test
kernel-test: require-go require-kernel ## Run the kernel tests in a guest with device mapper (PKG, RUN, V=1, COUNT, MEM, TIMEOUT)
	@go run ./test/kerneltest/cmd/kernel-test $(KERNEL_TEST_FLAGS) $(PKG)

.PHONY: kernel-shell
kernel-shell: require-go require-kernel ## Open a shell in a guest as kernel tests find it (PKG: build its tests too)
	@go run ./test/kerneltest/cmd/kernel-test -shell $(KERNEL_TEST_FLAGS) $(PKG)

.PHONY: kernel-harness-test
kernel-harness-test: require-go require-kernel ## Test the harness itself: guests, power cuts, hung and failing jobs
	@go test -tags uml -timeout 10m ./test/uml/... ./test/kerneltest/...

.PHONY: require-kernel
require-kernel:
	@hack/install-debian.sh kernel
