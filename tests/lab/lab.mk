# The lab: a real control plane on this machine. See tests/lab/mod.rs.

LAB_DIR ?= target/lab

.PHONY: lab lab-build lab-test

lab: ## Start the lab and stay (LAB_DIR=target/lab)
	cargo run --quiet --example lab -- up $(LAB_DIR)

lab-build: ## Build the lab's programs (about 20 minutes, once)
	@tests/lab/build.sh

lab-test: ## Test the lab itself
	cargo test --quiet --test lab
