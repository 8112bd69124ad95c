#!/usr/bin/env bash
# Execute notebooks again and compare every line of text that they print with what is stored.
set -euo pipefail
cd "$(dirname "$0")/.."
MPLBACKEND=module://matplotlib_inline.backend_inline .venv/bin/python -m pytest --nbval --nbval-current-env \
  --nbval-cell-timeout 600 --nbval-sanitize-with tests/nbval-sanitize.cfg -p tests.nbval_plugin \
  -n 2 --dist loadfile --no-loadscope-reorder "$@"
