#!/usr/bin/env bash
# Installs the tester of SCIM servers into tests/scim/.venv, unless it is there as tests/scim/requirements.txt asks.
set -euo pipefail
cd "$(dirname "$0")/../tests/scim"

if [ -f .venv/installed.txt ] && cmp -s requirements.txt .venv/installed.txt; then
  exit 0
fi
if ! command -v python3 >/dev/null; then
  echo "missing: python3. Install Python 3.10 or newer." >&2
  exit 1
fi
rm -rf .venv
if ! python3 -m venv .venv 2>/tmp/venv.$$; then
  cat /tmp/venv.$$ >&2
  rm -f /tmp/venv.$$
  echo "python3 cannot make a virtual environment. On Debian: apt-get install python3-venv." >&2
  exit 1
fi
rm -f /tmp/venv.$$
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r requirements.txt
cp requirements.txt .venv/installed.txt
