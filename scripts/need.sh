#!/usr/bin/env bash
# Makes sure that programs are there: installs their Debian packages when it can, says what is missing when not.
#   scripts/need.sh slapd chromium …
set -euo pipefail

package_of() {
  case "$1" in
    slapd) echo "slapd" ;;
    ldapsearch) echo "ldap-utils" ;;
    chromium) echo "chromium" ;;
    *) echo "$1" ;;
  esac
}

present() {
  case "$1" in
    slapd) [ -x /usr/sbin/slapd ] && command -v ldapsearch >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
for program in "$@"; do
  present "$program" || missing+=("$(package_of "$program")")
  [ "$program" = slapd ] && ! command -v ldapsearch >/dev/null && missing+=("ldap-utils")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # A server that a package starts by itself would take its port from the tests.
  apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confdef "${missing[@]}" >/dev/null
  exit 0
fi
echo "missing: ${missing[*]}" >&2
echo "Install them, for example with: sudo apt-get install ${missing[*]}" >&2
exit 1
