#!/usr/bin/env bash
# Asks a real server what its description of the API allows, and what it forbids, and holds every answer against the
# description: no fault of the server, no status, content type or body that is not described (schemathesis). In the end it
# counts: an operation of which fewer examples were answered is asked again, and is a failure if that does not help.
#   EXAMPLES  how many an operation (200)
#   SEED      draws others (1)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/server.sh
source bench/server.sh

need_compilers
need curl curl ca-certificates
tools=$(python_tools schemathesis bench/contract/requirements.txt) || fail "schemathesis could not be fetched; above is why."
cargo build --workspace --quiet --bin orderly
data=${DATA:-.dev/contract}
port=$(choose_port free)
export ORDERLY_URL=http://127.0.0.1:$port
# Streams end soon, so that they are read to their end; and no limit stands before what is to be tried.
export ORDERLY_INGRESS__STREAM_MAX_MS=100
mkdir -p "${data%/*}"
printf '[limits]\n' >"$data.policy.toml"
orderly=$target/debug/orderly start_server "$data" "$port" --demo --policy "$data.policy.toml"

# Made anew with the data folder.
export EXAMPLES_FILE=$data/examples.ndjson

ask() {
  PYTHONPATH=$PWD/bench/contract SCHEMATHESIS_HOOKS=hooks HYPOTHESIS_STORAGE_DIRECTORY=$data/hypothesis \
    "$tools/schemathesis" run "$ORDERLY_URL/openapi.json" \
    --phases fuzzing --max-examples "${EXAMPLES:-200}" --seed "${SEED:-1}" --workers 2 --request-timeout 90 --no-color \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance "$@"
}

say "Holding the API against its description"
ask --exclude-path-regex '^/v1/(policy|breakers/.*)$'
say "The policy, which changes what else is answered"
ask --include-path /v1/policy
say "The breakers, which turn everything else away"
ask --include-path-regex '^/v1/breakers/.*$'
say "Counting"
curl -fsS -o "$data/openapi.json" "$ORDERLY_URL/openapi.json"
too_few() { python3 bench/contract/counted.py "$data/openapi.json" "$EXAMPLES_FILE" "${EXAMPLES:-200}"; }
few=$(too_few)
for again in {1..5}; do
  [[ -n $few ]] || break
  while read -r operation; do
    say "Asking $operation again: it had fewer examples than wanted"
    SEED=$((${SEED:-1} + again)) ask --include-name "$operation"
  done <<<"$few"
  few=$(too_few)
done
[[ -z $few ]] || fail "Fewer than ${EXAMPLES:-200} examples were answered of: $few"
stop_server || fail "The server did not stop cleanly; see $data.log."
