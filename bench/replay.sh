#!/usr/bin/env bash
# Decides a city's real bookings against a fresh server, then verifies every invariant.
#   ORDERLY_BENCH_DATA  the folder that has the bookings; bench/README.md says which
#   DATA          the data folder, wiped first (.dev/replay)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/server.sh
source bench/server.sh

data=${DATA:-.dev/replay}
port=$(choose_port "${PORT:-free}")
build

say "Starting a server on http://127.0.0.1:$port (its log: $data.log)"
start_server "$data" "$port" --demo

say "Replaying"
"$target/release/orderly-bench" replay --url "http://127.0.0.1:$port" --plot "$data.svg" --json "$data.json"

say "Checking"
"$target/release/orderly" check --data "$data" --idle
stop_server || fail "The server did not stop cleanly; see $data.log."
