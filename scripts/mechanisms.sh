#!/usr/bin/env bash
# Makes docs/MECHANISMS.md from the list of mechanisms and the prose in docs/mechanisms/.
#
# Usage:  scripts/mechanisms.sh
# Needs:  cargo.
# Writes: docs/MECHANISMS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
IPCOST_WRITE_DOCS=1 cargo test --quiet --test mechanisms
