#!/usr/bin/env bash
# Makes docs/FAULTS.md from the record in docs/faults/, and with --measure that record first.
#
# Usage:  scripts/faults.sh [--measure]
# Needs:  cargo; for --measure some minutes and a machine that nobody else uses.
# Writes: docs/FAULTS.md; with --measure docs/faults/record.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --measure ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
  cargo build --release --quiet --features frameworks
  target/release/ipcost faults --seed 1 --out "$out/results" >/dev/null
  mkdir -p docs/faults
  cp "$out/results/faults.jsonl" docs/faults/record.jsonl
fi
IPCOST_WRITE_DOCS=1 cargo test --quiet --test faults_page the_page
