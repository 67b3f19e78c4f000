#!/usr/bin/env bash
# Installs the programs that tests marked `services` need and that PyPI does not have.
# What is on the machine already is left as it is.
set -euo pipefail

# program and the Debian package that has it
needed=(
  "redis-server redis-server"
  "pgbouncer pgbouncer"
  "strace strace"
  "npm npm" # tests/servers.sh needs it
  "chromium chromium"
)

export PATH="$PATH:/usr/sbin"
missing=()
for line in "${needed[@]}"; do
  read -r program package <<<"$line"
  command -v "$program" >/dev/null || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "These programs are missing, and only root on Debian or Ubuntu can install them from here: ${missing[*]}" >&2
  exit 1
fi
echo "Installing ${missing[*]} ..."
apt-get update -qq
# RUNLEVEL=1 keeps Debian from starting them as services of the machine: the tests start their own
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
