#!/usr/bin/env bash
# Makes docs/CLAIMS.md from the list of claims and the prose in docs/claims/.
#
# Usage:  scripts/claims.sh
# Needs:  cargo.
# Writes: docs/CLAIMS.md.
set -euo pipefail
cd "$(dirname "$0")/.."
IPCOST_WRITE_DOCS=1 cargo test --quiet --test claims_page
