# Crash tests: power cuts and strict cuts, docs/testing-crash.md.
#   make crash-test SEED=… CUTS=…   replay the cuts of one machine
#   make crash-test SEED=… POINTS=… replay the strict cuts of one recording
#   make crash-test KEEP=DIRECTORY  keep the disks of a machine that failed
CUTS   ?= 500
POINTS ?= 300
SEED   ?= 0
CRASH_TIMEOUT ?= 3h

.PHONY: crash-test
crash-test: require-go require-kernel ## Cut the power of a pool at work, and look at what is left (CUTS, POINTS, SEED, KEEP)
	@go test -tags uml -count 1 -timeout $(CRASH_TIMEOUT) -v -run TestPowerCuts ./test/crash -args -cuts $(CUTS) -seed $(SEED) -keep '$(KEEP)'
	@go run ./test/kerneltest/cmd/kernel-test -v -run TestStrictCuts -timeout $(CRASH_TIMEOUT) -args "-points $(POINTS) -seed $(SEED)" ./test/crash

# The same, few of each, for `make test`.
.PHONY: crash-short
crash-short:
	@$(MAKE) --no-print-directory crash-test CUTS=20 POINTS=40 CRASH_TIMEOUT=15m
