#!/usr/bin/env bash
# Starts the servers of the distributed profile (up), or stops them (down).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/stack.sh
source bench/stack.sh

case ${1:-} in
  up)
    shift
    build
    stack_up "$@"
    cat <<END

Run Orderly on them:
  orderly serve --demo --config $stack_config
  orderly check --config $stack_config
END
    ;;
  down) stack_down ;;
  *) fail "usage: bench/up.sh up|down" ;;
esac
