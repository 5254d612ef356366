# shellcheck shell=bash
# Sourced by the scripts beside it: builds Orderly, starts a server on the loopback address and stops it again.

# shellcheck source=bench/install.sh
source bench/install.sh

target=${CARGO_TARGET_DIR:-target}
server_pid=

build() {
  need curl curl ca-certificates
  say "Building in release mode (the first time takes some minutes)"
  # Always the same packages: another choice of them is another choice of their libraries' features, and another program.
  make --no-print-directory build
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The given port, or, for the word "free", one that nobody listens on.
choose_port() {
  local port=$1
  if [[ $port == free ]]; then
    for _ in {1..100}; do
      port=$((20000 + RANDOM % 12000)) # below the range that the kernel hands out
      listens "$port" || break
    done
  fi
  if listens "$port"; then
    fail "Port $port is in use. Stop what listens there, or choose another: make run PORT=$((port + 1))"
  fi
  echo "$port"
}

# Starts `orderly serve` (the program $orderly, if that is set) on a fresh data folder and waits until it is ready.
#   start_server DATA PORT [OPTION…]
start_server() {
  local data=$1 port=$2
  shift 2
  rm -rf "$data"
  mkdir -p "$data"
  "${orderly:-$target/release/orderly}" serve --data "$data" --listen "127.0.0.1:$port" "$@" >"$data.log" 2>&1 &
  server_pid=$!
  local deadline=$((SECONDS + 60))
  until curl -fs -o /dev/null "http://127.0.0.1:$port/readyz"; do
    if ! kill -0 "$server_pid" 2>/dev/null; then
      tail -n 20 "$data.log" >&2
      fail "The server ended at its start; above are the last lines of $data.log."
    fi
    if ((SECONDS > deadline)); then
      curl -s "http://127.0.0.1:$port/readyz" >&2 || true
      fail "The server is not ready after a minute; see $data.log."
    fi
    sleep 0.1
  done
}

# Asks the server to drain, and waits for its end. Its exit status is this function's.
stop_server() {
  local pid=$server_pid
  server_pid=
  [[ -n $pid ]] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  wait "$pid"
}

trap 'stop_server || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
