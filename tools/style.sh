#!/usr/bin/env bash
# One style of code and docstrings, and a workflow that fits its schema.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/ruff check ddt_utils tests tools benchmarks book/_ext
.venv/bin/ruff format --check ddt_utils tests tools benchmarks book/_ext
.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
