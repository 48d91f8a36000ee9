# The manifests in deploy/ and the kinds in the chart, made from the chart and from the Rust types.

HELM ?= helm
HELM_TEMPLATE = $(HELM) template palier charts/palier --kube-version 1.36.0 \
	--api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy
# Nothing of Helm is left in what kustomize applies.
PLAIN = grep -v 'app.kubernetes.io/managed-by: Helm'

.PHONY: crds deploy-manifests chart-lint

## crds: write crds/ and the chart's copy from the Rust types
crds:
	UPDATE_CRDS=1 cargo test --quiet --test api

## deploy-manifests: write deploy/ from the chart
deploy-manifests:
	awk 'FNR == 1 { print "---" } 1' crds/*.yaml > deploy/base/crds.yaml
	$(HELM_TEMPLATE) --namespace palier-system | $(PLAIN) > deploy/base/palier.yaml
	$(HELM_TEMPLATE) --namespace shop --set namespaced=true | $(PLAIN) > deploy/namespaced/palier.yaml

## chart-lint: check the chart's templates and values
chart-lint:
	$(HELM) lint --strict charts/palier --kube-version 1.36.0
