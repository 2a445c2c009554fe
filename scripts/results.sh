#!/usr/bin/env bash
# Runs a campaign and regenerates every table and the page of its results folder from the raw files.
#
# Usage:  scripts/results.sh [OPTIONS of `ipcost compare`]      e.g.  scripts/results.sh --profile full --budget 20m
# Needs:  cargo. An otherwise idle machine: two builds or benches at once spoil each other.
# Writes: results/<host>/<date-time>/ unless --out says otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin ipcost
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
target/release/ipcost compare "$@" 2> >(tee "$log" >&2) || status=$?
dir=$(sed -n 's/^results in //p' "$log" | tail -n 1)
[ -n "$dir" ] || exit "$status"
# The same bytes again, from the raw files alone: a report that measured or guessed would differ.
before=$(cat "$dir"/summary* "$dir/report.html" | sha256sum)
target/release/ipcost report "$dir"
after=$(cat "$dir"/summary* "$dir/report.html" | sha256sum)
if [ "$before" != "$after" ]; then
  echo "the regenerated tables differ from the first ones" >&2
  exit 1
fi
exit "$status"
