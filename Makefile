# Everything CI does is a target here; .ci/run calls them in order.
GO       ?= go
PACKAGES ?= $(addprefix ./,internal/standalone internal/fleettest docker internal/sim internal/demo provisioner/shipfox internal/hostile backend/process internal/agentd ...) # the longest first
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build test lint bench bench-hub soak fmt engine

# Static programs, in bin/.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X github.com/slipway-ci/slipway/internal/version.Version=$(VERSION)" -o bin/ ./cmd/...

# Every test that can run here; those that lack a Docker engine are counted aloud.
# To check the pointers of SQLite, C translated to Go, takes long, and so does the compilers' garbage.
test:
	GOGC=400 $(GO) run ./internal/testcount -race -gcflags=modernc.org/...=-d=checkptr=0 -ldflags=-w -p 5 -timeout 15m $(PACKAGES)

lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# The figures that the documents quote, as ratios to a floor of the same run.
bench:
	$(GO) run ./internal/bench

# The hub's: 1,000 simulated hosts, 20,000 runners; ten minutes.
bench-hub:
	$(GO) run ./internal/bench hub-pass hub-launch hub

# The simulation through thousands of seeds of faults.
soak:
	SLIPWAY_SEEDS=$${SLIPWAY_SEEDS:-5000} $(GO) test -race -timeout 4h -run Seeds -v ./internal/sim

fmt:
	gofmt -w .

# A Docker engine, where none answers and root may install one (Debian).
engine:
	bash scripts/engine.sh
