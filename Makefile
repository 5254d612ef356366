# Every command of the project. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help web screenshots run build up down test test-code test-rush test-api fuzz lint fmt check replay sim sim-planted faults soak churn bench bench-compare bench-limits bench-micro bench-instructions bench-flame bench-compare-full bench-full clean-data

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
# Intents per second of `make faults`.
RATE ?= 300
# Where `make bench-compare`, `make bench-limits` and `make bench-full` write their reports.
OUT ?= docs/bench
# STRICT=1 ends them with an error when a goal is missed; the reports are written either way.
STRICT ?=
# Tickets to which `make bench-full` lets a log grow; 10000000 take a quarter of an hour more.
TICKETS ?= 1000000
# How many seeds `make sim` adds to docs/reliability/ledger.md; without it, it runs the first 2,500 and writes nothing.
SEEDS ?=
# How many event streams `make churn` opens and leaves.
CYCLES ?= 1000000
# How long `make fuzz` runs each target.
SECONDS ?= 60

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, start the demo hospital, play a 20-second rush, stay up (PORT=8080, EXIT=1, PROFILE=distributed)
	@PORT=$(PORT) EXIT=$(EXIT) $(if $(filter distributed,$(PROFILE)),bench/run-distributed.sh,bench/run.sh)

up: ## start Kafka, Redis, PostgreSQL, ClickHouse and Prometheus on the loopback address (with Docker: deploy/compose.yaml)
	@bench/up.sh up

down: ## stop them; their data stay
	@bench/up.sh down

web: ## build the pages, for the next build of the program to hold (when their sources have changed)
	@ingress/web/build.sh

screenshots: build ## take pictures of the main pages for docs/img
	@ingress/web/build.sh screenshots

build: web ## build everything in release mode
	@bash -c 'set -e; source bench/install.sh; need_compilers'
	cargo build --release --bins -p orderly -p orderly-bench -p orderly-baselines -p orderly-stack -p orderly-faults

test: test-rush test-code ## everything: a short rush against a real server, then the tests

test-code: ## unit, property, conformance and integration tests, against real servers and today's ClickHouse (chDB)
	@bench/test.sh

test-rush: ## a short rush against a real server on a free port, judged by the checker
	@PORT=free EXIT=1 RUSH_SECONDS=8 DATA=.dev/test bench/run.sh

test-api: ## hold a real server's answers against its description of the API (EXAMPLES=200 an operation, SEED=1)
	@bench/contract.sh

fuzz: ## tickets, records, tokens, policies and bodies that are nearly right, each for SECONDS=60 (SEED: others)
	@bash -c 'set -e; source bench/install.sh; need_compilers'
	ORDERLY_FUZZ_SECONDS=$(SECONDS) ORDERLY_FUZZ_SEED=$(if $(filter file,$(origin SEED)),$(shell date +%s),$(SEED)) cargo test --workspace --lib -- fuzz::

lint: ## format, clippy, documentation, links, shell scripts, licences; a warning is an error
	@bench/lint.sh

fmt: ## format the code
	cargo fmt --all

check: build ## verify every invariant of a data folder (DATA=.dev/run)
	@"$${CARGO_TARGET_DIR:-target}/release/orderly" check --data $(DATA)

replay: ## decide 66,964 real bookings and verify every invariant (PROFILE=distributed: and compare with the embedded one)
	@$(if $(filter distributed,$(PROFILE)),bench/replay-distributed.sh,bench/replay.sh)

sim: ## the real pipeline in one thread under seeded faults (SEEDS=n: go on from docs/reliability/ledger.md)
	@bash -c 'set -e; source bench/install.sh; need_compilers'
	cargo build --workspace --bin orderly-sim
	"$${CARGO_TARGET_DIR:-target}/debug/orderly-sim" $(if $(SEEDS),--seeds $(SEEDS) --ledger docs/reliability/ledger.md,--seeds 2500)

sim-planted: ## make each of the planted mistakes in the real code, and tell which seed finds it
	@bash -c 'set -e; source bench/install.sh; need_compilers'
	cargo run --release -p orderly-sim --features planted-bugs -- planted

faults: ## kill, stop, empty and cut off nodes and servers in the middle of rushes (MINUTES=10 or HOURS=n, SEED=1, RATE=300)
	@MINUTES=$(MINUTES) SEED=$(SEED) RATE=$(RATE) LEDGER=$(if $(HOURS),docs/reliability/faults.md) bench/faults.sh

soak: build ## hold half load and tell whether memory, descriptors or tasks grow (HOURS=2 or MINUTES=n), into docs/bench (OUT)
	@mkdir -p $(OUT)
	@"$${CARGO_TARGET_DIR:-target}/release/orderly-bench" soak --minutes $(if $(filter file,$(origin MINUTES)),$(if $(HOURS),$(MINUTES),120),$(MINUTES)) \
	  --json $(OUT)/soak.json --plot $(OUT)/soak.svg

churn: build ## open and leave event streams, and tell whether anything stays (CYCLES=1000000), into docs/bench (OUT)
	@mkdir -p $(OUT)
	@"$${CARGO_TARGET_DIR:-target}/release/orderly-bench" churn --cycles $(CYCLES) --json $(OUT)/churn.json --plot $(OUT)/churn.svg

bench: bench-compare bench-limits ## compare with what people build (quick), then measure both profiles beside the machine: 25 minutes

bench-compare: build ## the same load on Orderly and on six baselines, into docs/bench (OUT): 13 minutes
	@bash -c 'set -e; source bench/install.sh; need_servers'
	@"$${CARGO_TARGET_DIR:-target}/release/orderly-bench" compare --quick $(if $(STRICT),--strict) --out $(OUT)

bench-limits: build ## every path beside what the machine can do, as ratios from one run: about 10 minutes
	@bash -c 'set -e; source bench/install.sh; need_servers'
	@mkdir -p $(OUT)
	@bash -c 'set -o pipefail; "$${CARGO_TARGET_DIR:-target}/release/orderly-bench" limits $(if $(STRICT),--strict) --json $(OUT)/limits.json | tee $(OUT)/limits.txt'

bench-micro: ## time the small steps that every booking takes, with criterion
	@bash -c 'set -e; source bench/install.sh; need_compilers'
	cargo bench -p orderly-bench

bench-instructions: build ## count their instructions and compare with bench/instructions.json (UPDATE=1 writes it)
	@bash -c 'source bench/install.sh; need valgrind valgrind'
	@"$${CARGO_TARGET_DIR:-target}/release/orderly-bench" micro $(if $(UPDATE),--update)

bench-flame: build ## where the processor is while bookings are accepted and decided: flame graphs into docs/bench (OUT)
	@bash -c 'set -e; source bench/install.sh; need perf linux-perf; need_inferno; \
	  "$${CARGO_TARGET_DIR:-target}/release/orderly-bench" flame --out $(OUT) --inferno "$$inferno"'

bench-compare-full: build ## every load in full: an hour or more (TICKETS=10000000, STRICT=1)
	@bash -c 'set -e; source bench/install.sh; need_servers'
	@"$${CARGO_TARGET_DIR:-target}/release/orderly-bench" compare --full --tickets $(TICKETS) $(if $(STRICT),--strict) --out $(OUT)

bench-full: ## every load in full, all limits and flame graphs, one after the other whatever becomes of each
	@status=0; for part in bench-compare-full bench-limits bench-flame; do $(MAKE) $$part || status=1; done; exit $$status

clean-data: down ## remove the data of former runs
	rm -rf .dev
