# The long run: hours, no part of a change's tests. See tests/soak/main.rs.

.PHONY: soak soak-cluster

soak: soak-engine soak-crash soak-cluster ## A million scripts, fifty thousand stories, 150 minutes of releases under faults: many hours

soak-cluster: lab-build ## Releases on the local control plane, a fault every ten seconds (SOAK_MINUTES=150 SOAK_ROLLOUTS=200)
	$(SEARCH) --test soak
