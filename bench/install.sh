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

# What builds Orderly: SQLite and librdkafka are compiled from their sources.
need_compilers() {
  command -v cargo >/dev/null || fail "cargo is missing. Install Rust as https://rustup.rs says."
  need cc gcc libc6-dev
  need c++ g++
}

# What draws flame graphs, in the folder $inferno: built once, into the cache folder.
need_inferno() {
  local version=0.12.8
  inferno=${XDG_CACHE_HOME:-$HOME/.cache}/orderly/inferno-$version/bin
  [[ -x $inferno/inferno-flamegraph ]] && return
  cargo install inferno --version "$version" --locked --quiet --root "${inferno%/bin}" \
    --bin inferno-collapse-perf --bin inferno-flamegraph
}

# The folder with the commands of Python packages, which are fetched once, pinned by hash, into the cache folder. Fails when
# they cannot be fetched.
#   python_tools NAME REQUIREMENTS
python_tools() {
  local name=$1 requirements=$2 folder
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/orderly/$name-$(sha256sum "$requirements" | cut -c 1-12)
  if [[ ! -e $folder/complete ]]; then
    need python3 python3 python3-venv >&2
    # Debian has it in a package of its own. No command of that name: it is always installed.
    python3 -c 'import ensurepip' 2>/dev/null || need ensurepip python3-venv >&2
    say "Fetching $name (once; into $folder)" >&2
    rm -rf "$folder"
    python3 -m venv "$folder" >&2 &&
      "$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r "$requirements" >&2 || return 1
    touch "$folder/complete"
  fi
  echo "$folder/bin"
}
