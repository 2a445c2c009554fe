#!/usr/bin/env bash
# Makes docs/limits/README.md from the tables of machines in docs/limits/.
#
# Usage:  scripts/limits_page.sh
# Needs:  cargo.
# Writes: docs/limits/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
IPCOST_WRITE_DOCS=1 cargo test --quiet --test limits_page the_page
