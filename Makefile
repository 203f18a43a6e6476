# The API is a separate module in api/, so that others can import it without the
# operator's dependencies. Targets for all code cover both modules.
#
# Requires Go, git, make, bash, curl, jq, openssl and a C compiler (for the race detector).
# All other tools are built once from the versions that the modules below hack/ pin, and
# cached. The control plane is downloaded if possible, and built otherwise; see
# hack/build.sh, also for the variables KUBERNETES_VERSION, ENVTEST_INDEX and
# KUBEBUILDER_ASSETS.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The image to build and deploy.
IMG ?= dli-operator:v0.1.0
# The image for pipelines.
PIPELINES_IMG ?= dli-pipelines:v0.1.0
# The version that the manager reports, and the commit it is built from.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git describe --match= --always --abbrev=40 --dirty 2>/dev/null)
# The kubectl for run, install and deploy: yours, or else the one built for tests.
KUBECTL ?= $(shell command -v kubectl || echo '$$(hack/build.sh controlplane)/kubectl')
# The oldest supported Kubernetes release.
OLDEST_KUBERNETES := 1.29
# How long each fuzz target runs.
FUZZTIME ?= 1m
# Additional flags for go test, such as -run or -v.
TESTFLAGS ?=
# Additional flags for the manager (make run), the benchmark (make bench), the robustness
# test (make robustness) and docker buildx (make docker-build; --push is required for the
# image of all PLATFORMS, because Docker can only put it into a registry).
RUNFLAGS ?=
BENCHFLAGS ?=
ROBUSTNESSFLAGS ?=
BUILDXFLAGS ?=
PLATFORMS ?= linux/amd64,linux/arm64
# Output files of make bench, from which make pictures takes figures.
BENCH ?=
# The repository for the image of a release.
RELEASE_IMAGE ?= ghcr.io/dli-operator/dli-operator

# Everything is compiled in one way, which is that of the control plane's programs, and a
# second time only for the race detector: most packages are dependencies of several.
export CGO_ENABLED := 0
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath

TOOL := go tool -modfile=hack/tools/go.mod
API_TOOL := go tool -modfile=../hack/tools/go.mod
HEADER := hack/boilerplate.go.txt
# Copies, because Helm logs a line for each symbolic link in a chart.
CHART_FILES := config/helm/dli-operator/files

##@ Development

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target>" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: generate
generate: ## Generate DeepCopy methods, apply configurations and the table of regions.
	cd api && $(API_TOOL) controller-gen object:headerFile=../$(HEADER) paths=./v1alpha1
	cd api && $(API_TOOL) controller-gen applyconfiguration:headerFile=../$(HEADER) paths=./v1alpha1
	go generate ./internal/dli

.PHONY: manifests
manifests: ## Generate the CRDs and the operator's role from markers; copy into the chart.
	cd api && $(API_TOOL) controller-gen crd paths=./v1alpha1 output:crd:dir=../config/crd/bases
	$(TOOL) controller-gen rbac:roleName=manager-role paths=./controllers/... output:rbac:dir=config/rbac
	cp config/crd/bases/*.yaml $(CHART_FILES)/crds
	cp config/rbac/*role*.yaml $(CHART_FILES)/rbac
	cp config/prometheus/dashboard.json config/prometheus/rules.yaml $(CHART_FILES)

.PHONY: docs
docs: ## Generate docs/api.md and the chart's table of values from comments.
	mkdir -p docs
	$(TOOL) crd-ref-docs --log-level=ERROR --source-path=api/v1alpha1 --config=hack/tools/crd-ref-docs.yaml \
		--renderer=markdown --output-path=docs/api.md
	hack/values.sh

.PHONY: pictures
pictures: ## Draw docs/images anew, with the figures of BENCH, outputs of make bench.
	go -C hack/pictures run . -dir='$(CURDIR)/docs/images' $(abspath $(BENCH))

.PHONY: fmt
fmt: ## Format the code.
	$(TOOL) golangci-lint fmt ./...

.PHONY: lint
lint: ## Run the linters of .golangci.yml.
	$(TOOL) golangci-lint run ./...
	cd api && $(API_TOOL) golangci-lint run ./...

.PHONY: verify
verify: ## Check generated files, format, modules, vet, linters, kustomizations and workflows.
	hack/tools/verify.sh

##@ Test

# The programs for tests, so that no test waits for a compiler.
PROGRAMS := assets=$$(hack/build.sh controlplane) && operator=$$(hack/build.sh operator) && \
	export KUBEBUILDER_ASSETS=$$assets OPERATOR_ASSETS=$$operator
# Packages whose tests run other programs, also the operator: the race detector sees
# nothing of these. The tests mostly wait, so four packages run at a time.
PROCESSES := /(hack|test/(install|lifecycle|performance|robustness|security|submit))(/|$$)
# Packages with a target of their own below.
TOOLS := /test/(cluster|engines|helm|prometheus)(/|$$)

.PHONY: test
test: ## Run the tests on a real API server, with the race detector, except the slow ones.
	go -C api test $(TESTFLAGS) ./...
	go -C hack/sdk test $(TESTFLAGS) ./...
	$(PROGRAMS) && hack/build.sh setup-envtest >/dev/null && all=$$(go list ./... | grep -Ev '$(TOOLS)') || exit 1; status=0; \
		CGO_ENABLED=1 go test -race -short -timeout=15m $(TESTFLAGS) $$(grep -Ev '$(PROCESSES)' <<<"$$all") || status=1; \
		go test -p=4 -short -timeout=15m $(TESTFLAGS) $$(grep -E '$(PROCESSES)' <<<"$$all") || status=1; \
		exit $$status

.PHONY: programs
programs: ## Build the programs that other test targets use, so that no compiler runs beside tests.
	for program in controlplane operator helm prometheus alertmanager; do hack/build.sh "$$program" >/dev/null; done
	KUBERNETES_VERSION=$(OLDEST_KUBERNETES) hack/build.sh controlplane >/dev/null
	go -C hack/checks tool kubeconform -v >/dev/null
	[[ $$(id -u) -ne 0 ]] || hack/build.sh node >/dev/null || true

.PHONY: test-security
test-security: ## Attack the operator for a quarter of an hour: memory, turns, writes, keys; make test does it for less.
	$(PROGRAMS) && go test -v -count=1 -timeout=40m $(TESTFLAGS) ./test/security

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities; says so where the database cannot be reached.
	@hack/checks/vulnerabilities.sh

.PHONY: test-tools
test-tools: ## Test the chart, a release, the alerts and the dashboard with the real Helm, Prometheus and Alertmanager.
	$(PROGRAMS) && hack/build.sh helm >/dev/null && hack/build.sh prometheus >/dev/null && hack/build.sh alertmanager >/dev/null && \
		go -C hack/checks tool kubeconform -v >/dev/null && go test -short -timeout=15m $(TESTFLAGS) ./test/helm ./test/prometheus

.PHONY: test-long
test-long: ## Run the slow tests: Helm, Prometheus, the image, a release.
	$(PROGRAMS) && hack/build.sh helm >/dev/null && hack/build.sh helm3 >/dev/null && \
		hack/build.sh prometheus >/dev/null && hack/build.sh alertmanager >/dev/null && \
		go test -timeout=30m $(TESTFLAGS) ./test/helm ./test/prometheus
	go -C hack/image test $(TESTFLAGS) ./...

.PHONY: test-cluster
test-cluster: ## Test the image in pods on a cluster of two nodes; needs root on Linux.
	@[[ $$(go env GOOS) == linux ]] || echo 'SKIPPED, nothing was tested: pods need Linux'
	go test -v -count=1 -timeout=30m -run=TestCluster $(TESTFLAGS) ./test/cluster

# Later versions of kubectl format the output of explain differently.
.PHONY: test-oldest
test-oldest: ## Test the API, install, reconciling and gates on the oldest supported Kubernetes.
	export KUBERNETES_VERSION=$(OLDEST_KUBERNETES) && $(PROGRAMS) && hack/build.sh helm >/dev/null && \
		go test -short -timeout=15m \
		-skip='^TestExplain|^TestKubectl$$/^explain' $(TESTFLAGS) ./controllers ./test ./test/helm ./test/install

.PHONY: test-engines
test-engines: ## Run Flux, Argo CD, Argo Workflows, Helm, kro, OpenTofu and Tekton on DLIJobs; prints what they make of them.
	for module in hack/engines/*/; do go -C "$$module" mod tidy -diff; done
	$(PROGRAMS) && go test -v -count=1 -timeout=60m $(TESTFLAGS) ./test/engines
	go test -v -count=1 -timeout=30m -skip=TestCluster $(TESTFLAGS) ./test/cluster

.PHONY: fuzz
fuzz: ## Fuzz the parsing of DLI's responses, each target for FUZZTIME.
	targets=$$(go test -list='^Fuzz' ./internal/dli | grep '^Fuzz') && \
	for target in $$targets; do \
		go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) ./internal/dli; \
	done

.PHONY: bench
bench: ## Measure CPU, memory, writes and lateness on a real API server.
	assets=$$(hack/build.sh controlplane) && KUBEBUILDER_ASSETS=$$assets go run ./test/performance $(BENCHFLAGS)

.PHONY: bench-smoke
bench-smoke: ## Count polls, connections and writes for 1000 jobs; fail if a limit is exceeded.
	assets=$$(hack/build.sh controlplane) && KUBEBUILDER_ASSETS=$$assets go run ./test/performance -smoke $(BENCHFLAGS)

.PHONY: robustness
robustness: ## Inject all kinds of faults for half an hour; fail if an invariant is violated.
	assets=$$(hack/build.sh controlplane) && KUBEBUILDER_ASSETS=$$assets go run ./test/robustness $(ROBUSTNESSFLAGS)

.PHONY: robustness-smoke
robustness-smoke: ## Inject some faults, the same ones each time, two at a time, in under three minutes.
	$(MAKE) --no-print-directory robustness ROBUSTNESSFLAGS="-duration=75s -pairs -seed=25 $(ROBUSTNESSFLAGS)"

.PHONY: robustness-broken
robustness-broken: ## Check that the robustness test detects operators that are broken on purpose.
	$(MAKE) --no-print-directory robustness ROBUSTNESSFLAGS="-broken $(ROBUSTNESSFLAGS)"

.PHONY: demo
demo: ## Show the operator at work on this machine, with a simulated DLI.
	hack/demo/demo.sh

##@ Build

.PHONY: build
build: ## Build bin/manager.
	go build -ldflags='-s -w -X main.version=$(VERSION)' -o bin/manager .

.PHONY: run
run: ## Run the manager on this machine, against the cluster of your kubeconfig. It stands by while an installed one leads.
	lease=; \
	$(KUBECTL) get namespace dli-operator-system >/dev/null 2>&1 && \
		lease='--leader-elect --leader-election-namespace=dli-operator-system'; \
	go run . --metrics-bind-address=0 $$lease $(RUNFLAGS)

.PHONY: image
image: ## Write the image IMG for all PLATFORMS to bin/image.tar, without Docker.
	@mkdir -p bin
	go -C hack/image run . -image='$(IMG)' -version='$(VERSION)' -revision='$(REVISION)' \
		-platforms='$(PLATFORMS)' -output='$(CURDIR)/bin/image.tar'

.PHONY: pipelines-image
pipelines-image: ## Write the image PIPELINES_IMG (kubectl, curl, jq, openssl, submit-to-dli.sh) to bin/pipelines.tar.
	@mkdir -p bin
	go -C hack/image run . -pipelines -image='$(PIPELINES_IMG)' -version='$(VERSION)' -revision='$(REVISION)' \
		-platforms='$(PLATFORMS)' -output='$(CURDIR)/bin/pipelines.tar'

.PHONY: docker-build
docker-build: ## Build the image IMG for this machine with Docker; BUILDXFLAGS=--push for all PLATFORMS.
	docker buildx build $(if $(findstring --push,$(BUILDXFLAGS)),--platform='$(PLATFORMS)',--load) \
		--build-arg=VERSION='$(VERSION)' --build-arg=REVISION='$(REVISION)' --tag='$(IMG)' $(BUILDXFLAGS) .

.PHONY: release
release: ## Build the files of release VERSION, such as v0.2.0, in dist/; checks its tags.
	hack/release/tags.sh '$(VERSION)'
	IMAGE='$(RELEASE_IMAGE)' hack/release/release.sh '$(VERSION)' dist

.PHONY: release-verify
release-verify: ## Check that make release VERSION=... is reproducible.
	IMAGE='$(RELEASE_IMAGE)' hack/release/verify.sh '$(VERSION)'

.PHONY: sbom
sbom: build ## Write the SBOM of bin/manager to bin/sbom.json (CycloneDX).
	go -C hack/sbom tool cyclonedx-gomod bin -json -std -version=$(VERSION) -output=$(CURDIR)/bin/sbom.json $(CURDIR)/bin/manager

.PHONY: clean
clean: ## Remove bin and dist.
	rm -rf bin dist

##@ Deployment

.PHONY: install
install: ## Install the CRDs into the cluster of your kubeconfig.
	$(KUBECTL) apply -k config/crd

.PHONY: uninstall
uninstall: ## Delete the CRDs, and with them every DLIJob and DLIConnection.
	$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Install the CRDs and the operator, with image IMG.
	$(KUBECTL) kustomize config/default | sed 's|image: dli-operator:v0.1.0$$|image: $(IMG)|' | $(KUBECTL) apply -f -

.PHONY: undeploy
undeploy: ## Delete the operator and the CRDs, and with them every DLIJob.
	$(KUBECTL) delete --ignore-not-found -k config/default
