# Everything a person or a CI job does with the project. `make` lists the targets.
# A fresh Debian machine needs Go, gcc, g++ and make; the targets fetch the rest through the Go module proxy.
GO       ?= go
BIN      := bin
FUZZTIME ?= 30s
COUNT    ?= 6
OLD      ?= HEAD~1
NEW      ?= HEAD
BENCH    ?= .
BENCHTIME ?= 200ms
SUITES   ?= yahoo nexmark latency state ingest sinks batch scale startup
KILLS    ?= 200
PROP_CHECKS ?= 1000
PROP_SEED   ?= 0
export CGO_ENABLED = 1

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/tidemill
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN)/tidemill ./cmd/tidemill

demo: build ## three queries over a live stream, a kill in the middle, and the proof at the end
	$(BIN)/tidemill demo

# -count=1: internal/e2e and examples build the program themselves, which the test cache does not see.
test: ## every test, with the race detector where it pays
	$(GO) test -count=1 -timeout 14m ./...
	$(GO) test -timeout 10m -race -short ./internal/clock ./internal/vfs/... ./internal/spill ./wal ./checkpoint ./state ./trigger ./engine

short: ## the tests that take seconds
	$(GO) test -short ./...

crash: ## the crash tests alone, at every point
	TIDEMILL_CRASH=all $(GO) test -timeout 60m -run 'Crash' ./wal ./state ./checkpoint ./engine/... ./sinks/...

prop: ## random queries over random rows and accidents against the batch run: PROP_CHECKS=1000 PROP_SEED=0 (random)
	PROP_CHECKS=$(PROP_CHECKS) PROP_SEED=$(PROP_SEED) $(GO) test -timeout 120m -run '^TestStreamEqualsBatch$$' ./engine ./internal/difftest

e2e: ## the program itself, killed KILLS times while rows arrive
	TIDEMILL_E2E_KILLS=$(KILLS) $(GO) test -timeout 120m -v ./internal/e2e

fuzz: ## every fuzz target for FUZZTIME each
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz || true); do \
	  echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

lint: ## gofmt, vet, golangci-lint with staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run make fmt'; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

fmt: ## format the code
	gofmt -w .

bench: build ## the figures of benchmarks/README.md, into benchmarks/results: SUITES='yahoo state'
	$(BIN)/tidemill bench $(SUITES) --out benchmarks/results

PEERS := benchmarks/peers
peers: build $(PEERS)/.venv/spark ## Tidemill beside Spark and others on the same files; needs Python 3.11 and Java 17
	$(BIN)/tidemill bench peers --peers $(PEERS) --out benchmarks/results

peers-all: $(foreach p,spark flink pathway bytewax,$(PEERS)/.venv/$(p)) ## install every peer that is known to run

peers-%: $(PEERS)/.venv/%
	@:

# An environment that pip did not finish is not left behind.
$(PEERS)/.venv/%: $(PEERS)/%/requirements.txt
	rm -rf $@ && python3 -m venv $@
	$@/bin/pip install --no-cache-dir -r $< || { rm -rf $@; exit 1; }
	touch $@
.PRECIOUS: $(PEERS)/.venv/%

benchcmp: ## the micro-benchmarks of two commits, in turns: OLD=main~5 NEW=HEAD COUNT=6 BENCH=. BENCHTIME=200ms PACKAGES=./wal
	tools/benchcmp.sh $(OLD) $(NEW) $(COUNT) '$(BENCH)' $(BENCHTIME) $(PACKAGES)

generate: build ## write the generated documents, and the list of DuckDB's functions
	$(BIN)/tidemill docs --dir docs
	$(GO) generate ./planner

ci: lint test ## what .ci/run calls

clean: ## remove what was built
	rm -rf $(BIN)

.PHONY: help build demo test short crash prop e2e fuzz lint fmt bench benchcmp peers peers-all generate ci clean
