# Everything a developer does here; `make help` lists it.

GO       ?= go
BIN      := bin
MODULE   := github.com/daprd/daprd
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo edge)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  := -s -w -X $(MODULE)/pkg/version.version=$(VERSION) -X $(MODULE)/pkg/version.commit=$(COMMIT)
# grpcnotrace leaves golang.org/x/net/trace out, and html/template with it, which keeps the linker from dropping unused
# methods: 8 MB (docs/decisions/binary-in-memory.md).
TAGS     := grpcnotrace
# What is shipped is static and bears no path of the machine that built it; lint looks at the same, so that all is compiled once.
SHIPPED  := CGO_ENABLED=0 GOFLAGS='-trimpath -tags=$(TAGS)'
BINARIES := $(notdir $(wildcard cmd/*))
SOURCES  := $(shell find cmd pkg -name '*.go' -not -name '*_test.go' 2>/dev/null) go.mod go.sum
# The tests of whole sidecars take longest and wait most: they come first, so that the others run beside them.
PACKAGES ?= ./test ./...

.PHONY: help run build test race soak lint fmt gen bench services image clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(BIN)/daprd ## build, then run two example apps with their sidecars and show them at work
	$(GO) run ./examples/hello -daprd $(BIN)/daprd

build: $(BINARIES:%=$(BIN)/%) ## build bin/daprd and the parts of the control plane: static binaries

$(BIN)/%: $(SOURCES)
	$(SHIPPED) $(GO) build -ldflags '$(LDFLAGS)' -o $@ ./cmd/$*

# The modules of the SDKs, of the collector and of the chart test binaries, which Go's test cache does not see.
test: services ## install and start what the tests need, then run them all with the race detector
	$(GO) test -race -timeout 15m $(PACKAGES)
	cd test/sdk && $(GO) test -count=1 -timeout 10m ./...
	cd test/otel && $(GO) test -count=1 -timeout 10m ./...
	cd test/chart && $(GO) test -count=1 -timeout 20m ./...

soak: services ## hold what is promised of actors for 10 minutes (DAPRD_SOAK=1h: an hour) while everything is killed and cut off
	DAPRD_SOAK=$${DAPRD_SOAK:-10m} $(GO) test -race -count=1 -v -timeout 24h -run '^TestActor(History|Networks)$$' ./test

race: test ## the same as test: the race detector is always on

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(SHIPPED) $(GO) vet ./...
	$(SHIPPED) $(GO) tool -modfile=tools/go.mod staticcheck ./...

fmt: ## gofmt everything
	git ls-files '*.go' | xargs gofmt -w

gen: ## generate the Go code of the .proto files anew
	$(GO) run ./pkg/proto/gen

bench: $(BIN)/daprd ## measure daprd against a direct call; prints a table
	$(GO) run ./bench -daprd $(BIN)/daprd

services: ## install the servers and runtimes that the tests use, where they are missing, and build the API server of Kubernetes
	@./test/services.sh
	@$(GO) run ./test/kube/build

image: ## build a container image of each binary, daprd:$(VERSION) for one
	for target in $(BINARIES); do docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --target $$target -t $$target:$(VERSION) . || exit 1; done

clean: ## remove what was built
	rm -rf $(BIN)
