#!/usr/bin/env bash
# Makes sure that programs are there: installs their Debian packages when it can, says what is missing when not.
#   scripts/need.sh slapd chromium-headless-shell …
set -euo pipefail

packages_of() {
  case "$1" in
    slapd) echo "slapd ldap-utils" ;;
    postgres) echo "postgresql" ;;
    mariadbd) echo "mariadb-server-core" ;;
    python3-venv) echo "python3 python3-venv" ;;
    rsyslogd) echo "rsyslog rsyslog-gnutls" ;;
    go) echo "golang-go golang-golang-x-mod-dev" ;;
    *) echo "$1" ;;
  esac
}

# Debian keeps servers in /usr/sbin, which is not on everybody's path.
found() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; }

present() {
  # Debian keeps each version of it in a folder that is on nobody's path.
  [ "$1" != postgres ] || { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; return; }
  # A module of Python, not a program.
  [ "$1" != python3-venv ] || { found python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; return; }
  found "$1" || return 1
  # Its TLS is a module of another package.
  [ "$1" != rsyslogd ] || compgen -G '/usr/lib/*/rsyslog/lmnsd_gtls.so' >/dev/null || return 1
  # The packages of the Go checksum database, as Debian installs them for building.
  [ "$1" != go ] || [ -d "${GO_PACKAGES:-/usr/share/gocode}/src/golang.org/x/mod/sumdb" ] || return 1
  [ "$1" != slapd ] || { found ldapsearch && [ -r /etc/ldap/schema/core.schema ]; }
}

missing=()
for program in "$@"; do
  present "$program" || read -ra missing <<<"${missing[*]} $(packages_of "$program")"
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
  echo "missing: ${missing[*]}" >&2
  echo "Install them, for example with: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi

# The tests start their own servers on free ports: one that a package starts by itself is not wanted.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 0755 "$policy"
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"
}

echo "installing ${missing[*]}"
# A source that does not answer need not be the one that has the packages.
apt update || echo "apt-get update had faults; going on with the lists that there are" >&2
log=$(mktemp)
if ! apt install -y --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
  "${missing[@]}" >"$log" 2>&1; then
  cat "$log" >&2
  echo "apt-get could not install: ${missing[*]}" >&2
  rm -f "$log"
  exit 1
fi
rm -f "$log"

for program in "$@"; do
  present "$program" || { echo "still missing after the installation: $program" >&2; exit 1; }
done
