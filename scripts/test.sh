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

stage "tools" scripts/need.sh bc slapd chromium-headless-shell redis-server postgres mariadbd rsyslogd python3-venv go
stage "web: build" scripts/build-web.sh
stage "web: types" web check
stage "web: unit tests" web test
stage "web: budget" web budget
stage "node: peers of the queue" peers
stage "python: peers of connectors and checkpoints, judges of the audit log" scripts/python-peers.sh
stage "python: tester of SCIM" scripts/scim-tester.sh
stage "rust: build" cargo test --locked --no-run
stage "rust: lints" cargo clippy --locked --all-targets -- -D warnings
rust() { RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((4 * $(nproc)))} cargo test --locked; }

# Most Rust tests wait for a process, a timer or a socket more than for a core: the browser's fill the gaps. APART=1
# runs them one after the other, for machines whose load nobody knows.
if [ "${APART:-0}" = 1 ]; then
  stage "web: browser tests" e2e
  stage "rust: tests" rust
else
  log=$(mktemp)
  began=$SECONDS
  e2e >"$log" 2>&1 &
  browser=$!
  trap 'kill "$browser" 2>/dev/null || true; cat "$log"; rm -f "$log"' EXIT
  stage "rust: tests" rust
  echo "== web: browser tests"
  wait "$browser"
  summary+=("$(printf '%5.1f min  %s' "$(echo "($SECONDS - $began) / 60" | bc -l)" "web: browser tests, beside the Rust tests")")
  tail -n 3 "$log"
  trap - EXIT
  rm -f "$log"
fi

echo
printf '%s\n' "${summary[@]}"
