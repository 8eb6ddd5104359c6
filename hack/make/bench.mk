# Benchmarks: run inside a User Mode Linux guest. docs/performance.md has the figures of one run and says how to read them.
#   make bench WRITE=1   write the tables into docs/performance.md instead of printing them
#   make bench SHORT=1   a few samples, to see that it works
#   make bench ONLY=create,open  some sections: create, profile, throughput, activation, open, snapshot, execs, deletion, overhead
BENCH_FLAGS = $(if $(SHORT),-short) $(if $(WRITE),-write docs/performance.md) $(if $(ONLY),-only $(ONLY))

.PHONY: bench
bench: require-go require-kernel ## Measure the engine beside the kernel's own calls and LVM (WRITE=1, SHORT=1, ONLY=sections)
	@go run ./test/bench/cmd/bench $(BENCH_FLAGS)

# The same for a cluster: pods and claims on the lab, brought up for it unless it is up. docs/performance.md has the figures.
#   make bench-cluster WRITE=1   write the tables into docs/performance.md
#   make bench-cluster SHORT=1   a few pods and claims, to see that it works
.PHONY: bench-cluster
bench-cluster: require-go ## Measure 100 pods and 1,000 claims on the lab's cluster (WRITE=1, SHORT=1)
	@hack/install-debian.sh lab images
	@go test -tags e2e -count 1 -timeout 60m -v -run '^TestClusterPerformance$$' $(if $(SHORT),-short) ./test/bench $(if $(WRITE),-args -write $(CURDIR)/docs/performance.md)
