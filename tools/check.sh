#!/usr/bin/env bash
# Every check, in the order in which a mistake is cheapest to find. Called by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 MPLBACKEND=agg

echo "== style"
.venv/bin/ruff check ddt_utils tests tools benchmarks book/_ext
.venv/bin/ruff format --check ddt_utils tests tools benchmarks book/_ext
.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

echo "== the book, warnings as errors"
bash tools/build.sh

chromium=$(bash tools/browser.sh)
echo "== unit, truth, hygiene and browser tests; the examples in the docstrings"
DDT_CHROMIUM=$chromium $python -m pytest -n 2 --dist loadfile --doctest-modules tests ddt_utils

echo "== every chapter executed again and compared (nbval, strict)"
MPLBACKEND=module://matplotlib_inline.backend_inline $python -m pytest --nbval --nbval-current-env \
  --nbval-cell-timeout 600 --nbval-sanitize-with tests/nbval-sanitize.cfg -p tests.nbval_plugin \
  -n 2 --dist loadfile book

if [ -z "$chromium" ]; then
  echo "NOTE: no Chromium was found and none could be installed: the browser checks did not run"
  [ "${CI:-}" != true ]
fi
