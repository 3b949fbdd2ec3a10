#!/usr/bin/env bash
# Installs what the tests talk to that is written in Python, into tests/python/venv; nothing to do when it is there.
set -euo pipefail
cd "$(dirname "$0")/../tests/python"
if [ -x venv/bin/scim2-server ] && [ -x venv/bin/moto_server ] && cmp -s requirements.txt venv/installed.txt; then
  exit 0
fi
rm -rf venv
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
cp requirements.txt venv/installed.txt
