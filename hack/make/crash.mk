# Crash tests: power cuts and strict cuts, docs/testing-crash.md.
#   make crash-test SEED=… CUTS=…   replay the power cuts of one machine
#   make crash-test SEED=… POINTS=… repeat the strict cuts of one recording
#   make crash-test KEEP=DIRECTORY  keep the disks of a machine that failed
# Who asks for one kind alone gets that alone.
CUTS   ?= $(if $(filter command line,$(origin POINTS)),0,500)
POINTS ?= $(if $(filter command line,$(origin CUTS)),0,300)
SEED   ?= 0
CRASH_TIMEOUT ?= 3h

.PHONY: crash-test
crash-test: require-go require-kernel ## Cut the power of a pool at work, and look at what is left (CUTS, POINTS, SEED, KEEP, V=1)
	@test $(CUTS) = 0 || go test -tags uml -count 1 -timeout $(CRASH_TIMEOUT) -v ./test/crash -args -cuts $(CUTS) -seed $(SEED) -keep '$(KEEP)'
	@test $(POINTS) = 0 || go run ./test/kerneltest/cmd/kernel-test $(if $(V),-v) -timeout $(CRASH_TIMEOUT) \
		-args "-points $(POINTS) -seed $(SEED)" ./test/crash/strictcut

# The same, few of each, for `make test`.
.PHONY: crash-short
crash-short:
	@$(MAKE) --no-print-directory crash-test CUTS=20 POINTS=30 CRASH_TIMEOUT=15m
