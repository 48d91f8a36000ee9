# The benchmark. See tests/bench/main.rs.

.PHONY: bench

bench: lab-build ## Measure what Palier costs; writes docs/performance.md (BENCH_N=1,100 selects sizes, BENCH_WRITE=1 writes all the same)
	$(CARGO) build --locked --release --bin palier
	@mkdir -p $(TARGET)/bench && cp $(TARGET)/release/palier $(TARGET)/bench/palier
	BENCH_PALIER=$(abspath $(TARGET))/bench/palier $(SEARCH) --test bench
