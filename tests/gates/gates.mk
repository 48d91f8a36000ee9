# The yardstick of the gates. See tests/gates/main.rs.

.PHONY: bench-gates

bench-gates: ## Compare the gates' rules with those of others on simulated rollouts; writes docs/gates.md (BENCH_REPS=200 is quick, and only prints)
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=3 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	$(CARGO) test --locked --release --no-default-features --quiet --test gates
