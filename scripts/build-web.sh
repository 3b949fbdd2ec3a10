#!/usr/bin/env bash
# Builds web/dist when its sources are newer than it, so that cargo sees a change only when there is one.
set -euo pipefail
cd "$(dirname "$0")/../web"

if ! command -v npm >/dev/null; then
  echo "missing: npm. Install Node.js 20 or newer." >&2
  exit 1
fi
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --ignore-scripts --no-audit --no-fund
fi
if [ ! -f dist/index.html ] || [ -n "$(find src public index.html vite.config.ts package.json scripts -newer dist/index.html -print -quit)" ]; then
  npm run build
fi
