#!/usr/bin/env bash
# Opens pages of ipcost in a browser without a window and checks what only a browser can see (scripts/browser.py says what).
#
# Usage:  scripts/browser.sh [--shots DIR] PAGE...      default: the pages of the committed results
# Needs:  python3, and chromium: as root on Debian it is installed where it is absent; else install it.
# Exits:  0 all holds, 1 something does not, 2 wrong usage, 3 there is no browser and none can be had
set -euo pipefail
cd "$(dirname "$0")/.."
find_browser() {
  for name in "${IPCOST_BROWSER:-}" chromium chromium-browser google-chrome; do
    if [ -n "$name" ] && command -v "$name"; then return; fi
  done
}
browser=$(find_browser)
if [ -z "$browser" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "no browser here: installing chromium" >&2
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) >&2 || true
  browser=$(find_browser)
fi
if [ -z "$browser" ]; then
  echo "there is no browser: install chromium (Debian: apt-get install chromium), or name one in IPCOST_BROWSER" >&2
  exit 3
fi
if [ $# -eq 0 ]; then set -- results/*/*/report.html; fi
exec python3 scripts/browser.py --browser "$browser" "$@"
