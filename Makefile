# The API is a module of its own, below api/; what others import has nothing of
# the operator. Where a target is for all code, it is for both modules.
#
# Needs Go, git, make, a C compiler (for the race detector) and bash. Whatever
# else is needed is built from the versions that the modules below hack/ name:
# once, then taken from the cache. The control plane is downloaded rather than
# built where that is possible; hack/build.sh says more, and which variables there
# are: KUBERNETES_VERSION, ENVTEST_INDEX and KUBEBUILDER_ASSETS.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The image that is built and deployed.
IMG ?= dli-operator:v0.1.0
# The version that the manager reports, and the commit that it is built from.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git describe --match= --always --abbrev=40 --dirty 2>/dev/null)
# The kubectl that install and deploy use: yours, else the one built for tests.
KUBECTL ?= $(shell command -v kubectl || echo '$$(hack/build.sh controlplane)/kubectl')
# The oldest release of Kubernetes that is supported.
OLDEST_KUBERNETES := 1.29
# How long each fuzz target runs.
FUZZTIME ?= 1m
# More for go test, such as -run or -v.
TESTFLAGS ?=
# More for the manager (make run), the benchmark (make bench), the soak test
# (make soak) and Docker's build (make docker-build; with --push the image of all
# PLATFORMS goes to its registry, which is the only place that Docker can put it).
RUNFLAGS ?=
BENCHFLAGS ?=
SOAKFLAGS ?=
BUILDXFLAGS ?=
PLATFORMS ?= linux/amd64,linux/arm64
# The repository to which a release's image is pushed.
RELEASE_IMAGE ?= ghcr.io/dli-operator/dli-operator

TOOL := go tool -modfile=hack/tools/go.mod
API_TOOL := go tool -modfile=../hack/tools/go.mod
HEADER := hack/boilerplate.go.txt

##@ Development

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target>" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: generate
generate: ## Generate DeepCopy methods and apply configurations from api/.
	cd api && $(API_TOOL) controller-gen object:headerFile=../$(HEADER) paths=./v1alpha1
	cd api && $(API_TOOL) controller-gen applyconfiguration:headerFile=../$(HEADER) paths=./v1alpha1

.PHONY: manifests
manifests: ## Generate the CRDs and the operator's role from markers.
	cd api && $(API_TOOL) controller-gen crd paths=./v1alpha1 output:crd:dir=../config/crd/bases
	$(TOOL) controller-gen rbac:roleName=manager-role paths=./controllers/... output:rbac:dir=config/rbac

.PHONY: docs
docs: ## Generate docs/api.md from the comments of api/.
	mkdir -p docs
	$(TOOL) crd-ref-docs --log-level=ERROR --source-path=api/v1alpha1 --config=hack/tools/crd-ref-docs.yaml \
		--renderer=markdown --output-path=docs/api.md

.PHONY: fmt
fmt: ## Format the code.
	$(TOOL) golangci-lint fmt ./...

.PHONY: lint
lint: ## Run the linters of .golangci.yml.
	$(TOOL) golangci-lint run ./...
	cd api && $(API_TOOL) golangci-lint run ./...

.PHONY: verify
verify: ## Check generated files, format, modules, vet, linters and kustomizations.
	hack/tools/verify.sh

##@ Test

.PHONY: test
test: ## Run the tests, with the race detector, on a real API server; leave out what takes minutes.
	go -C api test -race $(TESTFLAGS) ./...
	assets=$$(hack/build.sh controlplane) && hack/build.sh prometheus >/dev/null && hack/build.sh helm >/dev/null && \
		KUBEBUILDER_ASSETS=$$assets go test -race -short -timeout=15m $(TESTFLAGS) ./...

.PHONY: test-long
test-long: ## Run what make test leaves out: every fault, the image, a release.
	assets=$$(hack/build.sh controlplane) && \
		KUBEBUILDER_ASSETS=$$assets go test -timeout=30m $(TESTFLAGS) ./test/faults
	go -C hack/image test $(TESTFLAGS) ./...
	go test $(TESTFLAGS) ./test/helm

# What kubectl explains it lays out otherwise in later versions.
.PHONY: test-oldest
test-oldest: ## Test API, install, reconciling and gates on the oldest Kubernetes supported.
	assets=$$(KUBERNETES_VERSION=$(OLDEST_KUBERNETES) hack/build.sh controlplane) && \
		hack/build.sh helm >/dev/null && KUBEBUILDER_ASSETS=$$assets go test -timeout=15m \
		-skip='^TestKubectl$$/^explain' $(TESTFLAGS) . ./controllers ./test ./test/helm

.PHONY: fuzz
fuzz: ## Fuzz what reads DLI's answers, each target for FUZZTIME.
	targets=$$(go test -list='^Fuzz' ./internal/dli | grep '^Fuzz') && \
	for target in $$targets; do \
		go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) ./internal/dli; \
	done

.PHONY: bench
bench: ## Measure CPU, memory, writes and lateness on a real API server.
	assets=$$(hack/build.sh controlplane) && KUBEBUILDER_ASSETS=$$assets go run ./hack/bench $(BENCHFLAGS)

.PHONY: bench-smoke
bench-smoke: ## Measure 1000 jobs for a moment; fail if a poll costs far too much.
	assets=$$(hack/build.sh controlplane) && KUBEBUILDER_ASSETS=$$assets go run ./hack/bench -smoke $(BENCHFLAGS)

.PHONY: soak
soak: ## Let everything fail for half an hour; fail if an invariant does not hold.
	assets=$$(hack/build.sh controlplane) && KUBEBUILDER_ASSETS=$$assets go run ./hack/soak $(SOAKFLAGS)

.PHONY: soak-smoke
soak-smoke: ## Let some of it fail, two faults at a time, in under three minutes.
	$(MAKE) --no-print-directory soak SOAKFLAGS="-duration=75s -pairs $(SOAKFLAGS)"

.PHONY: test-faults
test-faults: soak-smoke ## The same, and show that broken operators are seen; four minutes.
	$(MAKE) --no-print-directory soak SOAKFLAGS="-broken $(SOAKFLAGS)"

.PHONY: demo
demo: ## Show the operator at work on this machine, with a simulated DLI.
	hack/demo/demo.sh

##@ Build

.PHONY: build
build: ## Build bin/manager.
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.version=$(VERSION)' -o bin/manager .

.PHONY: run
run: ## Run the manager here, against the cluster of your kubeconfig.
	go run . --metrics-bind-address=0 $(RUNFLAGS)

.PHONY: image
image: ## Write the image IMG of all PLATFORMS to bin/image.tar, without Docker.
	@mkdir -p bin
	go -C hack/image run . -image='$(IMG)' -version='$(VERSION)' -revision='$(REVISION)' \
		-platforms='$(PLATFORMS)' -output='$(CURDIR)/bin/image.tar'

.PHONY: docker-build
docker-build: ## Build the image IMG with Docker for this machine; BUILDXFLAGS=--push for all.
	docker buildx build $(if $(findstring --push,$(BUILDXFLAGS)),--platform='$(PLATFORMS)',--load) \
		--build-arg=VERSION='$(VERSION)' --tag='$(IMG)' $(BUILDXFLAGS) .

.PHONY: release
release: ## Make the files of release VERSION, such as v0.2.0, in dist/.
	IMAGE='$(RELEASE_IMAGE)' hack/release/release.sh '$(VERSION)' dist

.PHONY: release-verify
release-verify: ## Check that two runs of make release VERSION=... give the same bytes.
	IMAGE='$(RELEASE_IMAGE)' hack/release/verify.sh '$(VERSION)'

.PHONY: sbom
sbom: build ## List what bin/manager is built of in bin/sbom.json (CycloneDX).
	go -C hack/sbom tool cyclonedx-gomod bin -json -std -version=$(VERSION) -output=$(CURDIR)/bin/sbom.json $(CURDIR)/bin/manager

.PHONY: clean
clean: ## Remove what make built in this tree.
	rm -rf bin dist

##@ Deployment

.PHONY: install
install: ## Install the CRDs into the cluster of your kubeconfig.
	$(KUBECTL) apply -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every DLIJob and DLIConnection.
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Install the CRDs and the operator, with image IMG.
	$(KUBECTL) kustomize config/default | sed 's|image: dli-operator:v0.1.0$$|image: $(IMG)|' | $(KUBECTL) apply -f -

.PHONY: undeploy
undeploy: ## Remove the operator and the CRDs, and with them every DLIJob.
	$(KUBECTL) delete --ignore-not-found -k config/default
