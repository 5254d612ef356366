#!/usr/bin/env bash
# Unit, property, fuzz, conformance and process tests, against real servers; the API against its description; the pages in a
# browser; then what runs on today's ClickHouse engine (chDB), which is fetched once (180 MB to load, 570 MB on the disk).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/install.sh
source bench/install.sh

need_compilers
need curl curl ca-certificates
need_servers
need prometheus prometheus
need faketime faketime
need sqlite3 sqlite3
ingress/web/build.sh

# Of an hour's output, what failed and why is told once more at its end.
mkdir -p .dev
if ! cargo test --workspace --no-fail-fast 2>&1 | tee .dev/test.log; then
  say "What failed (all of it is in .dev/test.log)"
  grep -aE -A 40 'panicked at|^error(\[|:)' .dev/test.log | grep -avE '^ +([0-9]+:|at )' | cut -c 1-2000 | tail -n 240
  exit 1
fi

bench/contract.sh

say "The pages in a browser"
ingress/web/build.sh test

say "The tests on today's ClickHouse (chDB)"
if (need npm npm && bench/stack/clickhouse/fetch-chdb.sh); then
  cargo build --workspace --bin orderly-chdb
  cargo test --workspace --test conformance -- --ignored chdb::
else
  printf '\n\033[1;31m%s\033[0m\n' \
    "SKIPPED: chDB could not be fetched (above is why), so nothing was tried on a ClickHouse of today. All else passed."
fi
