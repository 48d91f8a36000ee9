# The manifests in deploy/ and the kinds in the chart, made from the chart and from the Rust types.

CARGO ?= cargo
# The lab's helm where it is built, else the one on the search path.
HELM ?= $(or $(shell tests/lab/build.sh --check 2>/dev/null | sed -n 's/^helm=//p'),helm)
HELM_TEMPLATE = $(HELM) template palier charts/palier --kube-version 1.36.0 \
	--api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy
# Nothing of Helm is left in what kustomize applies.
PLAIN = grep -v 'app.kubernetes.io/managed-by: Helm'

.PHONY: crds deploy-manifests chart-lint chart-test

crds: ## Write crds/ and the chart's copy from the Rust types
	UPDATE_CRDS=1 $(CARGO) test --quiet --test api stored_definitions

deploy-manifests: ## Write deploy/ from the chart and crds/
	awk 'FNR == 1 { print "---" } 1' crds/*.yaml > deploy/base/crds.yaml
	$(HELM_TEMPLATE) --namespace palier-system | $(PLAIN) > deploy/base/palier.yaml
	$(HELM_TEMPLATE) --namespace shop --set namespaced=true | $(PLAIN) > deploy/namespaced/palier.yaml

chart-lint: ## Check the chart's templates and values
	$(HELM) lint --strict charts/palier --kube-version 1.36.0

chart-test: lab-build ## The kinds, the chart, its policies and the manifests, on a real API server
	$(CARGO) test --locked --test api --test policies
