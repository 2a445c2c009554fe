#!/usr/bin/env bash
# Queries results folders with DuckDB: every cell per host, from one folder or hundreds.
#
# Usage:  scripts/data/duckdb.sh [PATTERN [SQL-FILE]]     PATTERN is quoted, 'results/*/*' if not given
#         DUCKDB="duckdb -csv" scripts/data/duckdb.sh     another command that starts it, with options such as the format
# Needs:  duckdb (https://duckdb.org).
# Writes: nothing.
set -euo pipefail
pattern=${1:-results/*/*}
sql=${2:-"$(dirname "$0")/duckdb.sql"}
read -ra duckdb <<<"${DUCKDB:-duckdb -box}"
if ! command -v "${duckdb[0]}" >/dev/null; then
    echo "error: no ${duckdb[0]} here; \`pip install duckdb-cli\` brings one, or read with scripts/data/read.py" >&2
    exit 2
fi
exec "${duckdb[@]}" -c "SET VARIABLE folders = '${pattern//\'/\'\'}'" -f "$sql"
