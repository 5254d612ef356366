#!/usr/bin/env bash
# Puts chDB, today's ClickHouse engine as a library, where the tests look for it: 180 MB to load, 570 MB on the disk.
# Does nothing when it is there. What is there is whole and has the expected checksum, also when this was interrupted.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
version=$(<"$here/chdb-version")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/orderly
folder=$cache/chdb-$version

if [[ -e $folder/libchdb.so ]]; then
  echo "there already: $folder/libchdb.so"
  exit 0
fi

case $(uname -sm) in
  "Linux x86_64") ;;
  *) echo "chDB is fetched for Linux on x86_64 only; this is $(uname -sm)" >&2; exit 1 ;;
esac
command -v npm >/dev/null || { echo "npm is missing; install it: apt-get install npm" >&2; exit 1; }

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
package=$(npm pack --silent "@chdb/lib-linux-x64-gnu@$version")
tar -xzf "$package" --strip-components=1 package/libchdb.so
sha256sum --check --quiet "$here/chdb.sha256" || {
  echo "libchdb.so is not the file that was reviewed; nothing is installed" >&2
  exit 1
}
mkdir -p "$folder"
mv libchdb.so "$folder/libchdb.so"
echo "fetched: $folder/libchdb.so"
