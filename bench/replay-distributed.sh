#!/usr/bin/env bash
# Decides a city's real bookings on servers of its own: two processes that take requests, two that decide, one relay. Then
# verifies every invariant, and decides the same log again in an embedded engine: every ticket must have the same outcome.
#   ORDERLY_BENCH_DATA  the folder that has the bookings; bench/README.md says which
#   DATA          the folder of the servers' data, wiped first (.dev/replay-distributed)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/stack.sh
source bench/stack.sh

data=${DATA:-.dev/replay-distributed}
stack_folder=$data
stack_pid_file=$data.pid
stack_log=$data.log
stack_config=$data/orderly.toml
build
# Left over from a replay that was killed.
if stack_runs; then stack_down; fi
rm -rf "$data"
trap 'stop_nodes || true; if stack_runs; then stack_down; fi' EXIT

stack_up --port "$(free_ports 8)"
port=$(free_ports 5)
say "Starting two pipelines, a relay and two ingresses (their logs: .dev/replay-*.log)"
start_node replay-relay "$((port + 4))" relay
start_node replay-pipeline-1 "$((port + 2))" pipeline
start_node replay-pipeline-2 "$((port + 3))" pipeline
start_node replay-ingress-1 "$port" ingress --demo
start_node replay-ingress-2 "$((port + 1))" ingress --demo

say "Replaying"
verdict=0
"$target/release/orderly-bench" replay --url "http://127.0.0.1:$port,http://127.0.0.1:$((port + 1))" \
  --plot "$data.svg" --json "$data.json" || verdict=$?

say "Checking"
"$target/release/orderly" check --config "$stack_config" --idle || verdict=$?

say "Deciding the same log again in an embedded engine"
"$target/release/orderly" replay --config "$stack_config" || verdict=$?
stop_nodes || fail "A process did not stop cleanly; see .dev/replay-*.log."
exit "$verdict"
