SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# How long each fuzzer runs in `make test`.
FUZZTIME ?= 5s
# Extra arguments of go test, such as TESTFLAGS='-run TestOutage -v'.
TESTFLAGS ?=
# The tags of tests that need more than this machine has by default.
TAGS := -tags gateways,kind
TOOL := go tool -modfile=hack/tools/go.mod

.PHONY: help
help: ## show this list
	@echo 'Keygate: API keys for Envoy and Kubernetes'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r target text; do printf '  make %-13s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: ## the tour: start everything, show what it does to real requests, stop it again
	@hack/demo

.PHONY: up
up: ## start the whole stack on this machine; then: . .stack/env
	@go run ./hack/stack up

.PHONY: down
down: ## stop the stack and leave nothing behind
	@go run ./hack/stack down

.PHONY: restart
restart: ## restart one component: make restart C=extauthz
	@go run ./hack/stack restart '$(C)'

.PHONY: images
images: ## the container image for amd64 and arm64, into dist/: an OCI layout, and archives to load
	@go -C hack/images run . --tree ../.. --out ../../dist

.PHONY: generate
generate: ## regenerate what follows from api/v1alpha1, config/rbac and the chart's values
	@hack/generate config/crd api/v1alpha1 charts/keygate

.PHONY: assets
assets: ## get the real programs that tests run: etcd, Kubernetes, Envoy, Helm
	@echo '==> the programs that tests run (built or downloaded once, then cached)'
	@go run ./hack/testbin/cmd

.PHONY: test
test: assets ## all tests with the race detector, then each fuzzer for FUZZTIME
	@echo '==> go test -race ./...'
	@go test -race -timeout 30m $(TESTFLAGS) ./...
	@echo '==> go test ./hack/images'
	@go -C hack/images test -timeout 30m $(TESTFLAGS) ./...
	@echo '==> fuzzers, $(FUZZTIME) each'
	@hack/fuzz $(FUZZTIME)

.PHONY: test-gateways
test-gateways: ## the ways in that need no cluster, through Envoy and Envoy Gateway
	@hack/test-gateways $(TESTFLAGS)

# The cluster of the next targets: `make kind-up KUBECONFIG=FILE` uses the current one of
# that file, as it is. A KUBECONFIG that is only exported is left alone.
GIVEN := $(if $(filter command,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)')

.PHONY: kind-up
kind-up: ## Keygate in a cluster on this machine, made with kind (KIND_IMAGE: the node's image)
	@go run ./hack/kind $(GIVEN) up

.PHONY: test-kind
test-kind: ## the ways in, and what faults cost, in the cluster of make kind-up (made first if need be)
	@hack/test-kind $(TESTFLAGS)

.PHONY: kind-down
kind-down: ## delete the cluster; of one that KUBECONFIG=FILE names, what is Keygate's
	@go run ./hack/kind $(GIVEN) down

.PHONY: verify
verify: ## fail if generated files, formatting or go.mod files are not up to date
	@hack/verify

.PHONY: lint
lint: ## go vet and staticcheck
	@echo '==> go vet'
	@go vet $(TAGS) ./...
	@for module in images promql; do go -C hack/$$module vet ./...; done
	@echo '==> staticcheck'
	@$(TOOL) staticcheck $(TAGS) ./...

.PHONY: bench
bench: assets ## benchmarks: decisions, the key store, minting, and both ends through Envoy
	@hack/bench
