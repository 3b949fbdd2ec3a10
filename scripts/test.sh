#!/usr/bin/env bash
# Everything that must hold, in the order of what fails fastest. Prints the minutes of each stage.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
summary=()
# Generated cases are the same in every run; `make fuzz` and a seed of one's own look for others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-20260101}

stage() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@"
  summary+=("$(printf '%5.1f min  %s' "$(echo "($SECONDS - $began) / 60" | bc -l)" "$name")")
}

web() { (cd web && npm run "$@"); }
peers() { (cd tests/node && npm ci --no-audit --no-fund --loglevel=error); }
e2e() { (cd web && TENURE_BIN="$target/debug/tenure" npm run e2e); }

stage "tools" scripts/need.sh bc slapd chromium redis-server
stage "web: build" scripts/build-web.sh
stage "web: types" web check
stage "web: unit tests" web test
stage "web: budget" web budget
stage "node: peers of the queue" peers
stage "rust: build" cargo test --locked --no-run
stage "rust: lints" cargo clippy --locked --all-targets -- -D warnings
stage "web: browser tests" e2e
stage "rust: tests" cargo test --locked

echo
printf '%s\n' "${summary[@]}"
