#!/usr/bin/env bash
# Fetches Apache Kafka's jars from Maven Central into the cache, checks them, and prints their folder. Once they are
# there, nothing is fetched any more.
set -euo pipefail
cd "$(dirname "$0")"

version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' pom.xml)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/orderly/kafka-$version
libs=$folder/libs

if [[ ! -d $libs ]]; then
  command -v mvn >/dev/null || {
    echo "mvn is missing. Install it: apt-get install maven" >&2
    exit 1
  }
  mkdir -p "$(dirname "$folder")"
  temporary=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$temporary"' EXIT
  mvn -q -B -f pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$temporary/libs" >&2
  sums=$PWD/SHA256SUMS
  (cd "$temporary/libs" && sha256sum --quiet --strict -c "$sums" >&2)
  if [[ $(find "$temporary/libs" -type f | wc -l) -ne $(wc -l <"$sums") ]]; then
    echo "Maven brought files that SHA256SUMS does not name; look at the change before you add them" >&2
    exit 1
  fi
  # Whoever was quicker brought the same.
  mv -T "$temporary" "$folder" 2>/dev/null || [[ -d $libs ]]
fi
echo "$libs"
