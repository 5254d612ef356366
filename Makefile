# Every command of the project. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run build up down test test-code test-rush lint fmt check replay faults bench clean-data

# Where `make run` listens, on the loopback address.
PORT ?= 8080
# embedded: one process and files. distributed: two ingresses, two pipelines and a relay on servers.
PROFILE ?= embedded
# EXIT=1 ends `make run` after the rush, with its verdict as exit status.
EXIT ?= 0
# The data folder that `make check` looks at.
DATA ?= .dev/run
# How long `make faults` goes on; HOURS=n for long ones. SEED draws the same faults again.
MINUTES ?= $(if $(HOURS),$(shell echo $$(($(HOURS) * 60))),10)
SEED ?= 1

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, start the demo hospital, play a 20-second rush, stay up (PORT=8080, EXIT=1, PROFILE=distributed)
	@PORT=$(PORT) EXIT=$(EXIT) $(if $(filter distributed,$(PROFILE)),bench/run-distributed.sh,bench/run.sh)

up: ## start Kafka, Redis, PostgreSQL, ClickHouse and Prometheus on the loopback address (with Docker: deploy/compose.yaml)
	@bench/up.sh up

down: ## stop them; their data stay
	@bench/up.sh down

build: ## build everything in release mode
	cargo build --release --bins -p orderly -p orderly-bench

test: test-rush test-code ## everything: a short rush against a real server, then the tests

test-code: ## unit, property, conformance and integration tests, against real servers and today's ClickHouse (chDB)
	@bench/test.sh

test-rush: ## a short rush against a real server on a free port, judged by the checker
	@PORT=free EXIT=1 RUSH_SECONDS=8 DATA=.dev/test bench/run.sh

lint: ## format, clippy, documentation, links, shell scripts, licences; a warning is an error
	@bench/lint.sh

fmt: ## format the code
	cargo fmt --all

check: ## verify every invariant of a data folder (DATA=.dev/run)
	cargo run --release -q -p orderly -- check --data $(DATA)

replay: ## decide 66,964 real bookings and verify every invariant (PROFILE=distributed: and compare with the embedded one)
	@$(if $(filter distributed,$(PROFILE)),bench/replay-distributed.sh,bench/replay.sh)

faults: ## kill, stop, empty and cut off nodes and servers in the middle of rushes (MINUTES=10 or HOURS=n, SEED=1)
	@MINUTES=$(MINUTES) SEED=$(SEED) bench/faults.sh

bench: ## measure both profiles, as ratios from one run on this machine
	@bash -c 'set -e; source bench/install.sh; need_servers'
	cargo run --release -q -p orderly-bench -- limits

clean-data: down ## remove the data of former runs
	rm -rf .dev
