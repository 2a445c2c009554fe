#!/usr/bin/env bash
# Each mechanism at its own limit: what is aimed at and what this machine does, in one table. See scripts/limits.py --help.
# Builds first what is measured; --no-build takes what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --no-build ]; then
    shift
elif [ "${1:-}" != --help ] && [ "${1:-}" != --list ]; then
    cargo build --release --bins --example plain_channels --quiet
fi
exec python3 scripts/limits.py "$@"
