# shellcheck shell=bash
# Sourced by the scripts beside it: installs what they lack, from Debian's packages.

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

fail() {
  printf '\n%s\n' "$*" >&2
  exit 1
}

# Installs a Debian package when the command that it brings is missing.
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  local as_root=()
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || fail "$command is missing. Install it as root: apt-get install $*"
    as_root=(sudo)
  fi
  command -v apt-get >/dev/null || fail "$command is missing. Install it with your system's package manager."
  say "$command is missing: installing $*"
  "${as_root[@]}" apt-get update -q
  # In this run level no package starts the service that it brings: servers are started by whoever needs one.
  "${as_root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "$@"
}

# The servers of the distributed profile, and what fetches and runs Kafka.
need_servers() {
  PATH=$PATH:/usr/sbin
  need redis-server redis-server
  [[ -n $(compgen -G '/usr/lib/postgresql/*/bin/postgres') ]] || need postgres postgresql
  need clickhouse-server clickhouse-server
  need java default-jre-headless
  need mvn maven
}
