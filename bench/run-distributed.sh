#!/usr/bin/env bash
# The demo on servers: two processes that take requests, two that decide, one relay, a release rush against them, the
# checker's verdict, and then it stays up.
#   PORT          where the first process listens; the others on the ports after it (8080)
#   EXIT          1 to end after the rush (0)
#   RUSH_SECONDS  how long the rush lasts (20)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/stack.sh
source bench/stack.sh

port=${PORT:-8080}
[[ $port == free ]] && port=$(free_ports 5)
for nth in 0 1 2 3 4; do choose_port "$((port + nth))" >/dev/null; done
build
targets=$(for nth in 0 1 2 3 4; do printf '127.0.0.1:%s,' $((port + nth)); done)
stack_up --targets "${targets%,}"
urls="http://127.0.0.1:$port,http://127.0.0.1:$((port + 1))"

say "Starting two pipelines, a relay and two ingresses"
start_node relay "$((port + 4))" relay
start_node pipeline-1 "$((port + 2))" pipeline
start_node pipeline-2 "$((port + 3))" pipeline
start_node ingress-1 "$port" ingress --demo
start_node ingress-2 "$((port + 1))" ingress --demo
# The demo hospital goes through the log, too.
deadline=$((SECONDS + 120))
for nth in 0 1; do
  until curl -fs "http://127.0.0.1:$((port + nth))/v1/sessions" | grep -q '"state":"open"'; do
    ((SECONDS < deadline)) || fail "The demo hospital is not decided after two minutes; see .dev/pipeline-*.log."
    sleep 0.1
  done
done

say "Playing a release rush of ${RUSH_SECONDS:-20} seconds"
verdict=0
"$target/release/orderly-bench" rush --url "$urls" --seconds "${RUSH_SECONDS:-20}" \
  --plot .dev/distributed.svg --json .dev/distributed.json || verdict=$?

say "Checking"
# Analytics have everything a moment after the store.
deadline=$((SECONDS + 60))
until "$target/release/orderly" check --config "$stack_config" --idle >.dev/check.log 2>&1; do
  ((SECONDS < deadline)) || {
    verdict=1
    break
  }
  sleep 1
done
cat .dev/check.log

if [[ ${EXIT:-0} == 1 ]]; then
  stop_nodes || fail "A process did not stop cleanly; see .dev/*.log."
  exit "$verdict"
fi

say "It stays up until Ctrl-C; the servers stay up until: make down"
cat <<END
  pages      http://127.0.0.1:$port/   http://127.0.0.1:$((port + 1))/
  the rush   .dev/distributed.svg   (.dev/distributed.json)
END
trap 'exit 0' INT # Ctrl-C is how it is meant to end.
wait
