# resnet-operator. `make` lists the targets; README.md says what they are for.

.DEFAULT_GOAL := help
SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c

# Everything that is built or run lies in bin/ and .cluster/, and nowhere else.
BIN         := $(CURDIR)/bin
CLUSTER_DIR := $(CURDIR)/.cluster
export PATH := $(CLUSTER_DIR)/bin:$(PATH)

# local: the embedded Kubernetes of test/cluster. kind: a kind cluster (needs docker, kind and kubectl).
# other: whatever KUBECONFIG points to.
CLUSTER        ?= local
MANAGER_IMAGE  ?= resnet-operator/manager:dev
TRAINER_IMAGE  ?= resnet-operator/trainer:dev
ifeq ($(CLUSTER),local)
export KUBECONFIG := $(CLUSTER_DIR)/kubeconfig
endif

# One set of flags for build, test, vet and the images, so that nothing is compiled twice.
export GOFLAGS := -trimpath -buildvcs=false
COMMIT := $(shell git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null)
GO_BUILD := go build -ldflags "-s -w"
# Packages that link libtorch; the race detector is for the others.
CGO_PACKAGES := /trainer$$|/trainer/(eval|group|libtorch|record|resnet$$|state|step)|/cmd/trainer|/bench

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it
.PHONY: demo cluster-up cluster-down
demo: ## Train on Fashion-MNIST in a real Kubernetes on this machine, from nothing
	@CLUSTER=$(CLUSTER) CLUSTER_DIR=$(CLUSTER_DIR) hack/demo.sh

cluster-up: $(CLUSTER_DIR)/bin/cluster ## Start the local cluster, with MinIO in it
	@CLUSTER=$(CLUSTER) hack/cluster.sh up

cluster-down: $(CLUSTER_DIR)/bin/cluster ## Stop the local cluster; binaries, images and packages stay
	@CLUSTER=$(CLUSTER) hack/cluster.sh down

##@ Build
.PHONY: build plugin packages images generate manifests reference release
build: ## Build bin/manager, bin/trainer and the plugin bin/kubectl-resnet
	@hack/packages.sh build
	CGO_ENABLED=0 $(GO_BUILD) -o $(BIN)/manager ./cmd/manager
	@$(MAKE) --no-print-directory plugin
	go build -ldflags "-s -w -X github.com/resnet-operator/resnet-operator/trainer/version.commit=$(COMMIT)" -o $(BIN)/trainer ./cmd/trainer

plugin: ## Build the plugin bin/kubectl-resnet, which needs Go only
	CGO_ENABLED=0 go build -ldflags "-s -w -X github.com/resnet-operator/resnet-operator/trainer/version.commit=$(COMMIT)" -o $(BIN)/kubectl-resnet ./cmd/kubectl-resnet
	@install -m 755 cmd/kubectl-resnet/kubectl_complete-resnet $(BIN)/

packages: ## Install the Debian packages that building and testing need
	@hack/packages.sh

images: $(if $(filter local,$(CLUSTER)),build) $(CLUSTER_DIR)/bin/cluster ## Build the manager's and the trainer's image and load them into the cluster
	@CLUSTER=$(CLUSTER) hack/cluster.sh images

release: ## Make install.yaml, chart, plugin, images, SBOMs and checksums in bin/release (VERSION=v0.1.0; options: hack/release.sh)
	@hack/release.sh "$(VERSION)"

$(CLUSTER_DIR)/bin/cluster: $(wildcard test/cluster/*.go test/cluster/go.*)
	@$(if $(filter local,$(CLUSTER)),hack/packages.sh build cluster)
	@mkdir -p $(@D)
	@go build -C test/cluster -o $@ .

generate: $(BIN)/controller-gen ## Generate deepcopy functions and apply-configurations
	$(BIN)/controller-gen object applyconfiguration paths=./api/v1

manifests: $(BIN)/controller-gen ## Generate the CRD and the manager's role
	$(BIN)/controller-gen crd:allowDangerousTypes=true paths=./api/v1 output:crd:dir=config/crd
	go run ./hack/bound-crd config/crd/training.resnet-operator.dev_resnettrainingjobs.yaml
	$(BIN)/controller-gen rbac:roleName=resnet-operator paths=./controllers output:rbac:dir=config/rbac

reference: $(BIN)/crd-ref-docs ## Generate docs/reference.md, the fields of a job
	@$(BIN)/crd-ref-docs --source-path=api/v1 --config=tools/crd-ref-docs/config.yaml --renderer=markdown --output-path=docs/reference.md >$(BIN)/.log 2>&1 || { cat $(BIN)/.log; exit 1; }
	@sed -i -E '1s/.*/# Fields of a job\n\nGenerated from [api\/v1](..\/api\/v1) by `make reference`./; s/ ?Optional: \\\{\\\} <br \/>//g; s/ +$$//' docs/reference.md

$(BIN)/crd-ref-docs: tools/crd-ref-docs/go.mod
	go build -C tools/crd-ref-docs -o $@ github.com/elastic/crd-ref-docs

$(BIN)/actionlint: tools/actionlint/go.mod
	go build -C tools/actionlint -o $@ github.com/rhysd/actionlint/cmd/actionlint

$(BIN)/controller-gen: tools/controller-gen/go.mod
	go build -C tools/controller-gen -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen

$(BIN)/kwok: tools/kwok/go.mod
	CGO_ENABLED=0 go build -C tools/kwok -ldflags "-s -w" -o $@ sigs.k8s.io/kwok/cmd/kwok

$(BIN)/kueue: tools/kueue/go.mod tools/kueue/build.sh
	tools/kueue/build.sh $@

$(BIN)/helm: test/install/go.mod
	CGO_ENABLED=0 go build -C test/install -ldflags "-s -w" -o $@ helm.sh/helm/v4/cmd/helm

$(BIN)/cyclonedx-gomod: tools/cyclonedx-gomod/go.mod
	CGO_ENABLED=0 go build -C tools/cyclonedx-gomod -ldflags "-s -w" -o $@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

$(BIN)/staticcheck: tools/staticcheck/go.mod
	go build -C tools/staticcheck -o $@ honnef.co/go/tools/cmd/staticcheck

# ONNX Runtime, for tests. Its install script, which we leave out, would fetch libraries for CUDA.
ONNXRUNTIME := $(BIN)/onnxruntime/node_modules/.package-lock.json
$(ONNXRUNTIME): $(wildcard tools/onnxruntime/*) | packages
	@rm -rf $(BIN)/onnxruntime && mkdir -p $(BIN)/onnxruntime && cp tools/onnxruntime/* $(BIN)/onnxruntime
	npm ci --prefix $(BIN)/onnxruntime --ignore-scripts --no-audit --no-fund --loglevel=error
	@rm -rf $(BIN)/onnxruntime/node_modules/onnxruntime-node/bin/*/{win32,darwin}

# The programs of docs/edge.md with their packages.
EDGE := $(BIN)/edge/node_modules/.package-lock.json
$(EDGE): $(wildcard examples/edge/*) hack/venv.sh | packages
	@mkdir -p $(BIN)/edge && cp examples/edge/* $(BIN)/edge
	hack/venv.sh $(BIN)/edge/venv examples/edge/requirements.txt
	npm ci --prefix $(BIN)/edge --ignore-scripts --no-audit --no-fund --loglevel=error

# Python with the packages of the example of a client.
PYTHON := $(BIN)/python/requirements.txt
$(PYTHON): examples/python/requirements.txt hack/venv.sh | packages
	hack/venv.sh $(@D) $<

# Python with the programs that users open our files with: TensorBoard, onnx, ONNX Runtime.
READERS := $(BIN)/readers/requirements.txt
$(READERS): tools/readers/requirements.txt hack/venv.sh | packages
	hack/venv.sh $(@D) $<

# Today's PyTorch. PyPI has it with CUDA: it computes on the CPU here, but takes 5 GB and a minute or more.
PYTORCH := $(BIN)/pytorch/requirements.txt
$(PYTORCH): tools/pytorch/requirements.txt hack/venv.sh | packages
	hack/venv.sh $(@D) $<

# PyTorch for CUDA with all headers: the version that the trainer for GPUs is built for. Five gigabytes.
CUDA := $(BIN)/cuda/requirements.txt
$(CUDA): tools/cuda/requirements.txt hack/venv.sh | packages
	hack/venv.sh $(@D) $<

# MLflow with its server.
$(BIN)/mlflow/requirements.txt: tools/mlflow/requirements.txt hack/venv.sh | packages
	hack/venv.sh $(@D) $<

##@ Check
.PHONY: test test-unit test-browser test-numerics test-pytorch test-integration test-alerts test-install test-install-short test-faults test-faults-short test-e2e test-kueue lint verify vulncheck bench-train bench-distributed gpu test-gpu bench-operator bench-checkpoint test-libtorch test-mlflow bench-photographs test-processors
test: lint verify test-unit test-integration test-alerts test-install-short test-faults-short test-e2e ## Everything below, with all servers that it needs

test-unit: packages $(CLUSTER_DIR)/bin/cluster $(ONNXRUNTIME) $(READERS) $(EDGE) ## Unit tests; numerics against PyTorch and ONNX Runtime, storage against MinIO
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/bin MINIO_BIN=$(CLUSTER_DIR)/bin/minio ONNXRUNTIME=$(BIN)/onnxruntime READERS=$(BIN)/readers go test -race $$(go list ./... | grep -vE '/test/|$(CGO_PACKAGES)')
	MINIO_BIN=$(CLUSTER_DIR)/bin/minio ONNXRUNTIME=$(BIN)/onnxruntime READERS=$(BIN)/readers EDGE=$(BIN)/edge go test -timeout 30m $$(go list ./... | grep -E '$(CGO_PACKAGES)')
	@$(MAKE) --no-print-directory test-numerics
	go test -tags cuda_emulated -run 'Layers|Optimizers|GradScaler|GPU' ./trainer/libtorch ./trainer/step ./trainer
	go test -C test/cluster .
	go test ./test/documents

# ATen, oneDNN and our own kernels with AVX2 only, then with the least that x86-64 has. Where a processor has AVX-512, libtorch asks oneDNN
# for bfloat16, which must not be kept below that. -count=1, because Go does not see which variables libtorch reads.
test-numerics: packages ## The comparisons with PyTorch once more, as lesser processors see them
	for isa in avx2:AVX2 default:SSE41; do \
		ATEN_CPU_CAPABILITY=$${isa%:*} ONEDNN_MAX_CPU_ISA=$${isa#*:} go test -count=1 -timeout 30m \
			-run 'TestLayers|TestOptimizers|TestGradScaler|TestPyTorch|TestTorchvision|TestGradients|TestTrainingMatchesPyTorch' \
			./trainer/libtorch ./trainer/resnet ./trainer; \
		ATEN_CPU_CAPABILITY=$${isa%:*} ONEDNN_MAX_CPU_ISA=AVX512_CORE go test -count=1 -run TestLayersInBFloat16 ./trainer/libtorch; \
	done

test-pytorch: $(PYTORCH) $(READERS) $(ONNXRUNTIME) ## Today's PyTorch from PyPI reads our exports, we what it and Hugging Face's datasets save, and batches are mixed as by its torchvision; not in `make test`
	PYTORCH=$(BIN)/pytorch/bin/python READERS=$(BIN)/readers ONNXRUNTIME=$(BIN)/onnxruntime \
		go test -count=1 -run 'TestFormatsAgree|TestReadWhatPyTorchSaves' ./trainer/export
	PYTORCH=$(BIN)/pytorch/bin/python go test -count=1 -run 'TestBatches|TestParquetOfDatasets' ./trainer/step ./trainer/data

$(BIN)/processors/haswell: hack/processors.sh
	@hack/processors.sh $(@D)

test-processors: $(BIN)/processors/haswell $(ONNXRUNTIME) ## int8 models on emulated processors: Raspberry Pi 4 and 5, x86-64 without VNNI; not in `make test`
	PROCESSORS=$(BIN)/processors ONNXRUNTIME=$(BIN)/onnxruntime go test -count=1 -v -run TestInt8OnProcessors ./trainer/export

# LIBTORCH as hack/libtorch.sh takes it; what is compared with PyTorch is compared with $$PYTORCH, a Python of the same version.
LIBTORCH ?= $(BIN)/pytorch
test-libtorch: packages ## The trainer's tests with another libtorch than Debian 12's (LIBTORCH=/path/to/torch; without it today's PyTorch)
	[ $(LIBTORCH) != $(BIN)/pytorch ] || $(MAKE) --no-print-directory $(PYTORCH)
	hack/libtorch.sh $(LIBTORCH) go test -count=1 -tags nogloo $$(go list ./... | grep -E '$(CGO_PACKAGES)' | grep -vE '/trainer/group|/bench')

test-integration: $(CLUSTER_DIR)/bin/cluster $(PYTHON) ## The manager, and the examples of clients, against a real API server
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/bin PYTHON=$(BIN)/python/bin/python go test -count=1 ./test/integration

test-browser: ## The report and the page of the manager in a headless Chromium, which it installs
	@hack/packages.sh chromium
	CHROMIUM=/usr/bin/chromium go test -count=1 -run 'Browser|PointerAndCells' ./trainer/report ./controllers/page

test-mlflow: $(BIN)/mlflow/requirements.txt ## The logger for MLflow with the real server, of 850 MB of packages
	MLFLOW_BIN=$(BIN)/mlflow/bin/mlflow go test -count=1 -v -run RealServer ./trainer/mlflow

test-kueue: $(CLUSTER_DIR)/bin/cluster $(BIN)/kueue ## The manager beside the real Kueue; builds it first, four minutes on two cores
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/bin KUEUE_BIN=$(BIN)/kueue \
		KUEUE_SOURCE=$$(go -C tools/kueue list -m -f '{{.Dir}}' sigs.k8s.io/kueue) go test -count=1 -v ./test/kueue

test-alerts: ## The alerts against the metrics, with Prometheus' parser and engine
	go -C test/alerts test ./...

test-install: $(CLUSTER_DIR)/bin/cluster ## The Helm chart next to config/, and all commands of docs/install.md, against a real API server
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/bin go -C test/install test -count=1 ./...

test-install-short: $(CLUSTER_DIR)/bin/cluster
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/bin go -C test/install test -count=1 -short ./...

# A real trainer on MinIO and, over TLS, on versitygw. FAULTS are more flags for go test.
FAULTS ?= -v -timeout 60m
test-faults: build $(CLUSTER_DIR)/bin/cluster $(CLUSTER_DIR)/bin/versitygw ## Break what can break during a training: docs/checkpoints.md (twelve minutes)
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	TRAINER_BIN=$(BIN)/trainer MINIO_BIN=$(CLUSTER_DIR)/bin/minio VERSITYGW_BIN=$(CLUSTER_DIR)/bin/versitygw \
		go test -count=1 $(FAULTS) ./test/faults

test-faults-short: build $(CLUSTER_DIR)/bin/cluster
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	TRAINER_BIN=$(BIN)/trainer MINIO_BIN=$(CLUSTER_DIR)/bin/minio go test -count=1 -short ./test/faults

$(CLUSTER_DIR)/bin/versitygw: test/faults/versitygw/go.mod
	go build -C $(<D) -o $@ github.com/versity/versitygw/cmd/versitygw

test-e2e: cluster-up images deploy ## Whole jobs on the local cluster, through the real manager
	go test -count=1 -parallel=6 -timeout=25m -v ./test/e2e

lint: packages $(BIN)/staticcheck $(BIN)/actionlint ## gofmt, vet, staticcheck, actionlint
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "run gofmt -w on:"; echo "$$out"; exit 1; }
	go vet ./...
	$(BIN)/staticcheck ./...
	$(BIN)/actionlint .github/workflows/*.yaml
	go -C test/cluster vet . && cd test/cluster && $(BIN)/staticcheck .

verify: $(BIN)/controller-gen $(BIN)/crd-ref-docs ## Fail if generated files are stale
	@rm -rf $(BIN)/.committed && mkdir -p $(BIN)/.committed && cp -r api config docs/reference.md $(BIN)/.committed
	@$(MAKE) --no-print-directory generate manifests reference >/dev/null
	@diff -r api $(BIN)/.committed/api && diff -r config $(BIN)/.committed/config && diff docs/reference.md $(BIN)/.committed/reference.md \
		|| { echo "generated files were stale and are new now: commit them"; exit 1; }
	go mod verify >/dev/null

$(BIN)/govulncheck: tools/govulncheck/go.mod
	go build -C tools/govulncheck -o $@ golang.org/x/vuln/cmd/govulncheck

vulncheck: packages $(BIN)/govulncheck ## Known vulnerabilities in what the programs call; asks vuln.go.dev, so it is no part of `make test`
	$(BIN)/govulncheck ./cmd/...

bench-train: packages build ## The trainer's throughput next to PyTorch's on this machine, and its limit (options: bench/train.sh)
	bench/train.sh

bench-photographs: ## Photographs made ready for a step, next to torchvision's DataLoader; memory of an epoch over 200,000 (options: bench/photographs.sh)
	@bench/photographs.sh

bench-distributed: packages build ## Several processes and nodes that train together, next to DistributedDataParallel (options: bench/distributed.sh)
	bench/distributed.sh

gpu: $(CUDA) ## Build the trainer for NVIDIA GPUs and its tests in bin/gpu, and check what can be checked without one; downloads PyTorch
	hack/gpu-build.sh $(BIN)/cuda $(BIN)/gpu

test-gpu: ## Check and measure bin/gpu on this machine's GPU, with its PyTorch (options: hack/gpu-check.sh)
	hack/gpu-check.sh $(BIN)/gpu

BENCH_OPERATOR ?= --jobs=1000,5000 --live=2000 --live-for=5m
bench-operator: $(CLUSTER_DIR)/bin/cluster $(BIN)/kwok ## The manager with thousands of jobs, next to plain Jobs (BENCH_OPERATOR: flags of bench/operator)
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	CGO_ENABLED=0 $(GO_BUILD) -o $(BIN)/manager ./cmd/manager
	CGO_ENABLED=0 go build -C bench/operator -ldflags "-s -w" -o $(BIN)/bench-operator .
	@cd bench/operator && KUBEBUILDER_ASSETS=$(CLUSTER_DIR)/bin $(BIN)/bench-operator --bin=$(BIN) $(BENCH_OPERATOR)

bench-checkpoint: build $(CLUSTER_DIR)/bin/cluster ## What a checkpoint every epoch costs: the same job with and without
	@$(CLUSTER_DIR)/bin/cluster build --dir $(CLUSTER_DIR) --repo $(CURDIR)
	MINIO_BIN=$(CLUSTER_DIR)/bin/minio bench/checkpoint.sh

##@ Install
.PHONY: run install deploy undeploy uninstall
install: ## Install the CRD into the cluster of KUBECONFIG
	kubectl apply --server-side -f config/crd/training.resnet-operator.dev_resnettrainingjobs.yaml

deploy: install ## Install CRD, RBAC and the manager as a Deployment (MANAGER_IMAGE, TRAINER_IMAGE)
	kubectl kustomize config/$(if $(filter other,$(CLUSTER)),default,local) \
		| sed "s#resnet-operator/manager:dev#$(MANAGER_IMAGE)#; s#resnet-operator/trainer:dev#$(TRAINER_IMAGE)#" \
		| kubectl apply --server-side --force-conflicts -f - >/dev/null
	kubectl -n resnet-operator rollout restart deployment/resnet-operator >/dev/null
	kubectl -n resnet-operator rollout status deployment/resnet-operator --timeout=120s

undeploy: ## Remove the manager; the CRD and the jobs stay
	@hack/undeploy.sh manager

uninstall: ## Remove the CRD, and with it every job: refused while there are jobs, unless DELETE_JOBS=yes
	@hack/undeploy.sh crd

run: install ## Run the manager on this machine against the cluster of KUBECONFIG
	CGO_ENABLED=0 go run ./cmd/manager --metrics-bind-address=0 --trainer-image=$(TRAINER_IMAGE)
