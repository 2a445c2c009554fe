#!/usr/bin/env bash
# Makes docs/DATA.md from the schemas in docs/schema/ and the columns of summary.csv, and docs/round-trip.svg from the results
# that the README shows.
#
# Usage:  scripts/data.sh
# Needs:  cargo, and python3 for the picture.
# Writes: docs/DATA.md, docs/round-trip.svg.
set -euo pipefail
cd "$(dirname "$0")/.."
IPCOST_WRITE_DOCS=1 cargo test --quiet --test data_page the_p
