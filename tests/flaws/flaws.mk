# Long searches: through the engine alone, with bugs put back, and for hours. See tests/flaws/main.rs, tests/seeds/main.rs and
# tests/model/main.rs. All of them share the profile and the features of `make crash`, so that what they rest on is compiled once.

.PHONY: searches flaws seeds soak-engine soak-crash model reliability

# Scripts of `make seeds` and `make soak-engine`, and states of `make model`.
SEEDS ?= 10000
STATES ?= 40000
SEARCH := $(CARGO) test --locked --quiet --profile search --features flaws

searches: seeds model flaws ## Random scripts, every order of events in a small world, and bugs put back

flaws: ## Bugs put back into the engine and the edges: each must be seen
	$(SEARCH) --test flaws
	$(SEARCH) --test crash --test prometheus --test controller put_back::

seeds: ## Random scripts through the engine (SEEDS=10000)
	SEEDS=$(SEEDS) $(SEARCH) --test seeds

model: ## Every order of events in a small world (STATES=40000)
	STATES=$(STATES) $(SEARCH) --test model

reliability: crash searches ## docs/reliability.md with the counters of these searches
	$(SEARCH) --test reliability -- write

soak-engine: SEEDS = 1000000
soak-engine: seeds ## A million random scripts (SEEDS=1000000)

# Seeds beyond those of every change. The two tests share the seeds out.
soak-crash: ## Fifty thousand random stories in the simulator (STORIES=50000)
	FIRST_SEED=501 SEEDS=$(or $(STORIES),50000) $(SEARCH) --test crash random_stories
