# Benchmarks: run inside a User Mode Linux guest. docs/performance.md has the figures of one run and says how to read them.
#   make bench WRITE=1   write the tables into docs/performance.md instead of printing them
#   make bench SHORT=1   a few samples, to see that it works
#   make bench ONLY=create,open  some sections: create, profile, throughput, activation, open, snapshot, execs, deletion, overhead
BENCH_FLAGS = $(if $(SHORT),-short) $(if $(WRITE),-write docs/performance.md) $(if $(ONLY),-only $(ONLY))

.PHONY: bench
bench: require-go require-kernel ## Measure the engine beside the kernel's own calls and LVM (WRITE=1, SHORT=1, ONLY=sections)
	@go run ./test/bench/cmd/bench $(BENCH_FLAGS)
