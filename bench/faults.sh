#!/usr/bin/env bash
# Faults on a cluster of real servers, drawn by a seed: nodes and servers are killed, stopped, emptied and cut off in the
# middle of rushes, one after another. Tells how long recovery takes.
#   MINUTES  until no further rush begins (10)
#   RATE     intents per second (300)
#   SEED     draws the same faults again (1)
#   LEDGER   adds a line with the totals to this file (none)
#   FAULTS   only these, with commas between; orderly-faults --help lists them (all)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/server.sh
source bench/server.sh

need_servers
need faketime faketime # gives processes a wrong clock
build
mkdir -p .dev
"$target/release/orderly-faults" --program "$target/release/orderly" --folder .dev/faults --json .dev/faults.json \
  --minutes "${MINUTES:-10}" --seed "${SEED:-1}" --rate "${RATE:-300}" \
  ${FAULTS:+--faults "$FAULTS"} ${LEDGER:+--ledger "$LEDGER"}
