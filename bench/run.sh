#!/usr/bin/env bash
# The demo: a fresh hospital, a release rush against it, the checker's verdict, and then it stays up.
#   PORT          where to listen, or "free" (8080)
#   EXIT          1 to end after the rush (0)
#   RUSH_SECONDS  how long the rush lasts (20)
#   DATA          the data folder, wiped first (.dev/run)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/server.sh
source bench/server.sh

data=${DATA:-.dev/run}
port=$(choose_port "${PORT:-8080}")
build
url="http://127.0.0.1:$port"

say "Starting the demo hospital on $url (its log: $data.log)"
start_server "$data" "$port" --demo

say "Playing a release rush of ${RUSH_SECONDS:-20} seconds"
verdict=0
"$target/release/orderly-bench" rush --url "$url" --seconds "${RUSH_SECONDS:-20}" --pid "$server_pid" \
  --data "$data" --history "$data.ndjson" --plot "$data.svg" --json "$data.json" || verdict=$?

# A session that can be booked now, or, when all are sold out, any.
sessions=$(curl -fs "$url/v1/sessions" | tr '{' '\n')
bookable=$(grep '"state":"open"' <<<"$sessions" | grep -v '"remaining":0[,}]' || true)
session=$(sed -n 's/.*"session_id":"\([^"]*\)".*/\1/p; T; q' <<<"${bookable:-$sessions}")

walk_through=$(
  cat <<END
TOKEN=\$(curl -s $url/v1/demo/token -H 'Content-Type: application/json' -d '{"sub":"patient-1","role":"patient"}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
TICKET=\$(curl -s $url/v1/bookings -H "Authorization: Bearer \$TOKEN" -H 'Content-Type: application/json' -H "Idempotency-Key: \$(date +%s)" -d '{"session_id":"$session"}' | sed 's/.*"ticket":"\([^"]*\)".*/\1/')
curl -s "$url/v1/tickets/\$TICKET?wait_ms=5000" -H "Authorization: Bearer \$TOKEN"; echo
END
)

if [[ ${EXIT:-0} == 1 ]]; then
  say "Booking as a patient does, by the three lines that \`make run\` shows"
  deadline=$((SECONDS + 60))
  until
    outcome=$(bash -c "$walk_through")
    grep -q '"status":"\(booked\|rejected\)"' <<<"$outcome"
  do
    ((SECONDS < deadline)) || fail "The three lines do not end with an outcome: $outcome"
    sleep 1 # They make another key each second.
  done
  echo "$outcome"
  stop_server || fail "The server did not stop cleanly; see $data.log."
  exit "$verdict"
fi

say "It stays up until Ctrl-C"
cat <<END
  pages      $url/   (patients)   $url/ops   $url/reports
  API        $url/docs   ($url/openapi.json)
  metrics    $url/metrics
  the rush   $data.svg   ($data.json)

Book as a patient; paste these three lines into another terminal:

$walk_through

END
trap 'exit 0' INT # Ctrl-C is how it is meant to end.
wait "$server_pid" || fail "The server ended; see $data.log."
