#!/usr/bin/env bash
# Builds what the tests talk to that is written in Go, from the packages of Debian: nothing is fetched.
#   scripts/go-peers.sh OUT
set -euo pipefail
out=${1:?where to put the program}
cd "$(dirname "$0")/../tests/go/audit"
mkdir -p "$(dirname "$out")"
export GO111MODULE=off GOFLAGS= GOPATH=${GO_PACKAGES:-/usr/share/gocode} GOCACHE=${GOCACHE:-$(dirname "$out")/go-cache}
# A temporary name, so that two tests that build at once find a whole program.
go build -o "$out.$$" .
mv "$out.$$" "$out"
