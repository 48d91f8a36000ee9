# `make demo` shows Palier at work on a control plane on this machine; `make test` tests everything.
.DEFAULT_GOAL := help
CARGO ?= cargo
# Builds are kept outside the checkout when the caller says where (CARGO_TARGET_DIR).
TARGET := $(or $(CARGO_TARGET_DIR),target)

include tests/lab/lab.mk
include deploy/deploy.mk
include tests/bench/bench.mk
include tests/gates/gates.mk
include tests/flaws/flaws.mk
include tests/soak/soak.mk

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: test
test: fmt-check lint core unit crash searches e2e ## Everything: format, lint, units, properties, end-to-end

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --check

.PHONY: lint
lint: ## Clippy, strict
	$(CARGO) clippy --locked --all-targets -- -D warnings

.PHONY: core
core: ## The pure rings alone: proof that they need neither network nor runtime
	$(CARGO) check --locked --lib --no-default-features

.PHONY: unit
unit: ## Units, properties, the house; no cluster
	$(CARGO) test --locked --lib --bins --test architecture --test planner --test cli --test lint --test prometheus --test api --test controller --test fuzz --test gates-smoke --test soak-judges

.PHONY: crash
crash: ## The real controller in a simulated cluster: drawn faults at its writes (SIEVE=full: all of them), and random stories
	$(SEARCH) --test crash

.PHONY: e2e
e2e: lab-build ## The chart's policies, the simulated API server's likeness and the end-to-end suite on the local control plane
	$(CARGO) test --locked --test policies
	$(CARGO) test --locked --test fidelity
	$(CARGO) test --locked --test e2e
	$(CARGO) test --locked --test fidelity-borrowing

.PHONY: demo
demo: lab-build ## A good and a bad release on the local control plane, with a live view
	$(CARGO) test --locked --quiet --test demo
