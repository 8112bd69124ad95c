#!/usr/bin/env bash
# Print the path of a Chromium, installing one where that is possible; print nothing if there is none.
set -uo pipefail
cd "$(dirname "$0")/.."
find_one() {
  for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    [ -n "$name" ] && command -v "$name" && return 0
  done
  .venv/bin/python - <<'PY' 2>/dev/null
from pathlib import Path
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    path = p.chromium.executable_path
    print(path) if Path(path).exists() else exit(1)
PY
}
find_one && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >&2
else
  .venv/bin/python -m playwright install chromium >&2
fi
find_one || true
