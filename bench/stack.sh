# shellcheck shell=bash
# Sourced by the scripts beside it: the servers of the distributed profile, and Orderly's processes on them.

# shellcheck source=bench/server.sh
source bench/server.sh

stack_folder=.dev/stack
stack_pid_file=.dev/stack.pid
stack_log=.dev/stack.log
stack_config=.dev/orderly.toml
node_pids=()

# Whether the process of that number, if there is one, is the one that was started: after a reboot it is another.
stack_runs() {
  [[ -f $stack_pid_file ]] && grep -qs orderly-stack "/proc/$(<"$stack_pid_file")/cmdline"
}

# Starts the servers, unless they run, and leaves them running.
stack_up() {
  need_servers
  need prometheus prometheus
  if stack_runs; then
    say "The servers run already; $stack_log says where"
    if (($#)); then
      "$target/release/orderly-stack" --folder "$stack_folder" --only-targets "$@"
    fi
    return
  fi
  say "Starting Kafka, Redis, PostgreSQL, ClickHouse and Prometheus (their data: $stack_folder)"
  mkdir -p .dev
  : >"$stack_log" # of the last time
  # It holds the servers: in a session of its own, so that a Ctrl-C here leaves it alone.
  setsid "$target/release/orderly-stack" --folder "$stack_folder" --config "$stack_config" "$@" \
    >"$stack_log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid" >"$stack_pid_file"
  until grep -q '^ready$' "$stack_log"; do
    kill -0 "$pid" 2>/dev/null || {
      cat "$stack_log" >&2
      fail "The servers did not start; see above and the logs in $stack_folder."
    }
    sleep 0.2
  done
  grep -v '^ready$\|^starting' "$stack_log"
}

# Stops the servers. What they hold stays in their folder.
stack_down() {
  stack_runs || {
    echo "The servers do not run."
    return
  }
  local pid
  pid=$(<"$stack_pid_file")
  kill -TERM "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  rm -f "$stack_pid_file"
  echo "The servers are stopped; their data stay in $stack_folder (make clean-data removes them)."
}

# The first of so many ports in a row on which nobody listens.
free_ports() {
  local count=$1 first nth
  for _ in {1..100}; do
    first=$(choose_port free)
    for ((nth = 1; nth < count; nth++)); do
      if listens "$((first + nth))"; then continue 2; fi
    done
    echo "$first"
    return
  done
  fail "There are no $count free ports in a row between 20000 and 32000."
}

# Starts one of Orderly's processes and waits until it is ready.
#   start_node NAME PORT ROLE [OPTION…]
start_node() {
  local name=$1 port=$2 role=$3
  shift 3
  "$target/release/orderly" "$role" --config "$stack_config" --listen "127.0.0.1:$port" "$@" \
    >".dev/$name.log" 2>&1 &
  local pid=$! deadline=$((SECONDS + 120))
  node_pids+=("$pid")
  until curl -fs -o /dev/null "http://127.0.0.1:$port/readyz"; do
    kill -0 "$pid" 2>/dev/null || {
      tail -n 20 ".dev/$name.log" >&2
      fail "$name ended at its start; above are the last lines of .dev/$name.log."
    }
    ((SECONDS < deadline)) || fail "$name is not ready after two minutes; see .dev/$name.log."
    sleep 0.1
  done
}

# Asks all of Orderly's processes to drain, the last one that was started first, and waits for their end.
stop_nodes() {
  local index status=0
  for ((index = ${#node_pids[@]} - 1; index >= 0; index--)); do
    kill -TERM "${node_pids[index]}" 2>/dev/null || true
    wait "${node_pids[index]}" || status=1
  done
  node_pids=()
  return "$status"
}

trap 'stop_nodes || true' EXIT
