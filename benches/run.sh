#!/usr/bin/env bash
# `make bench`: the store beside bare rusqlite, the job queue beside BullMQ on Redis. `--long` passes 1,000,000 jobs.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/need.sh redis-server
if ! command -v npm >/dev/null; then
  echo "missing: npm. Install Node.js 20 or newer." >&2
  exit 1
fi
peers=benches/peers
if [ ! -d $peers/node_modules ] || [ $peers/package-lock.json -nt $peers/node_modules/.package-lock.json ]; then
  npm ci --prefix $peers --ignore-scripts --no-audit --no-fund
fi
cargo bench --locked --bench store
cargo bench --locked --bench audit -- "$@"
cargo bench --locked --bench queue -- "$@"
cargo bench --locked --bench engine -- "$@"
