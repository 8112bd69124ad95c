#!/usr/bin/env bash
# Build the HTML book from the stored outputs, warnings as errors, and look at what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python tools/notebooks.py --check
.venv/bin/python tools/plain_notebooks.py --check
rm -rf _build/html
.venv/bin/jupyter-book build . --all --nitpick --warningiserror --keep-going --quiet
.venv/bin/python tools/pages.py
