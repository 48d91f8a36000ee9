# Long searches through the engine. See tests/flaws/main.rs, tests/seeds/main.rs and tests/model/main.rs.

.PHONY: flaws seeds soak-engine model

# Scripts of `make seeds` and `make soak-engine`, and states of `make model`.
SEEDS ?= 20000
STATES ?= 200000
SEARCH := $(CARGO) test --locked --quiet --profile search --no-default-features

flaws: ## Bugs put back into the engine: each must be seen
	$(SEARCH) --features flaws --test flaws

seeds: ## Random scripts through the engine (SEEDS=20000)
	SEEDS=$(SEEDS) $(SEARCH) --test seeds

model: ## Every order of events in a small world (STATES=200000)
	STATES=$(STATES) $(SEARCH) --test model

soak-engine: SEEDS = 1000000
soak-engine: seeds ## A million random scripts (SEEDS=1000000)
