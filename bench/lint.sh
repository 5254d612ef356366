#!/usr/bin/env bash
# Everything that judges the code without running it. A warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

step "format"
cargo fmt --all --check

step "clippy"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

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
  shellcheck -x .ci/run bench/*.sh bench/stack/*/*.sh
else
  echo "skipped: shellcheck is not installed; only the syntax is checked"
  for script in .ci/run bench/*.sh bench/stack/*/*.sh; do bash -n "$script"; done
fi

step "licences, sources and bans"
if cargo deny --version >/dev/null 2>&1; then
  cargo deny --offline check bans licenses sources
else
  echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
fi

((broken == 0))
