#!/usr/bin/env bash
# Asks ClickHouse one of the questions beside this file. See README.md.
set -euo pipefail

fail() {
  echo "$1" >&2
  exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
zone=${ORDERLY_ZONE:-Asia/Shanghai}
(($# >= 3)) || fail "usage: run.sh NAME FROM TO [OPTION OF clickhouse-client…], with FROM and TO as in 2026-11-23 or '2026-11-23 08:00'
The names: $(cd "$here" && printf "%s\n" {reports,queries}/*.sql | sed 's:.*/::; s:\.sql$::' | paste -sd ' ')"
name=$1
file=$(find "$here/reports" "$here/queries" -name "$name.sql")
[[ -n $file ]] || fail "There is no question named $name; run it without arguments to see them."

# The milliseconds of a time of the hospital.
millis() {
  local seconds
  seconds=$(TZ=$zone date -d "$1" +%s) || fail "$1 is no time; write it as in 2026-11-23 or '2026-11-23 08:00'"
  echo "${seconds}000"
}

from=$(millis "$2")
to=$(millis "$3")
shift 3
sed "s|:from_ms|$from|g; s|:to_ms|$to|g; s|:zone|$zone|g" "$file" | clickhouse-client --multiline --multiquery "$@"
