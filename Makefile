# The few commands a newcomer needs. `make` alone lists them.
SHELL := /bin/bash
CARGO ?= cargo
BINARY := $(abspath $(or $(CARGO_TARGET_DIR),target))/release/strowger
# Arguments for `strowger serve`, e.g. make run ARGS="--http 127.0.0.1:8080 --sip 127.0.0.1:5060"
ARGS ?=
# How many networks the simulator breaks calls on: a pull request's worth, and a night's.
SEEDS ?= 300
SEEDS_LONG ?= 5000

# nextest runs the same tests with a timeout for each; plain `cargo test` does where it is not installed.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
ifeq ($(NEXTEST),)
RUST_TESTS = $(CARGO) test --workspace --no-fail-fast --quiet
else
RUST_TESTS = $(CARGO) nextest run --workspace --no-fail-fast --show-progress none --status-level fail --final-status-level fail \
	&& $(CARGO) test --workspace --doc --quiet
endif

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.PHONY: run
run: build ## install what is missing, build, start the switch
	$(BINARY) serve $(ARGS)

.PHONY: build
build: tools ## the release binary
	$(CARGO) build --release --package strowger

.PHONY: demo
demo: build ## one call between two built-in phones, drawn as a ladder
	$(BINARY) demo

.PHONY: tools
tools:
	@scripts/install-build-tools.sh

.PHONY: peers
peers:
	@scripts/install-test-peers.sh

.PHONY: lint
lint: tools ## formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: unit
unit: tools ## tests of the crates, on simulated time
	$(RUST_TESTS)

.PHONY: simulate
simulate: tools ## calls over networks that lose, double, reorder and delay, and through a switch that dies
	$(CARGO) run --release --quiet --package simulator -- --seeds $(SEEDS)
	$(CARGO) run --release --quiet --package simulator -- --crashes --seeds $(SEEDS)

.PHONY: scenarios
scenarios: build peers ## the binary against SIPp, Kamailio, Asterisk and other peers, and HTTP clients
	STROWGER_BIN=$(BINARY) tests/run -m "not long" -n 2 --dist loadfile

.PHONY: test
test: lint unit simulate scenarios ## everything that has to pass before a change lands

.PHONY: test-long
test-long: SEEDS := $(SEEDS_LONG)
test-long: lint unit simulate build peers ## the same with more seeds, 1,000 calls and the long scenarios
	STROWGER_BIN=$(BINARY) tests/run

.PHONY: bench
bench: build peers ## CPU and memory per call and per packet, next to Kamailio and rtpengine
	STROWGER_BIN=$(BINARY) bench/run
