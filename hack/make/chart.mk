# The chart, the kinds it installs, and the plain manifests rendered from it.
CHART = charts/csi-dm

.PHONY: generate-chart
generate-chart: require-go ## Write CRDs, deploy/ and the table of the chart's values anew
	@generator=$$($(CONTROLLER_GEN)) && $$generator crd paths=./api/... output:crd:dir=$(CHART)/templates/crds
	@go run ./hack/chart-values $(CHART)
	@helm=$$($(HELM)) && { \
		echo "# Rendered from $(CHART) by 'make generate-chart': csi-dm in the namespace csi-dm. Do not edit."; \
		cat deploy/namespace.yaml; \
		$$helm template csi-dm $(CHART) --namespace csi-dm --kube-version 1.32.0; \
	} >deploy/csi-dm.yaml.new && mv deploy/csi-dm.yaml.new deploy/csi-dm.yaml

.PHONY: chart-test
chart-test: require-go ## Test the rendered chart and its values schema
	@HELM=$$($(HELM)) go test -tags chart -count 1 ./test/chart/...

.PHONY: api-test
api-test: lab-programs ## Test kinds, admission policy and controller on a real API server (RUN=TestX)
	@go test -tags e2e -count 1 -timeout 15m $(if $(RUN),-run '$(RUN)') ./test/api/...
