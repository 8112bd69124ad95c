#!/usr/bin/env bash
# Every check, in the order in which a mistake is cheapest to find. Called by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 MPLBACKEND=agg

echo "== style"
bash tools/style.sh

echo "== the book, warnings as errors"
bash tools/build.sh

chromium=$(bash tools/browser.sh)
echo "== unit, truth, hygiene and browser tests; the examples in the docstrings"
DDT_CHROMIUM=$chromium $python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
  --doctest-modules tests ddt_utils

echo "== every chapter executed again and compared (nbval, strict)"
bash tools/compare.sh book

if [ -z "$chromium" ]; then
  echo "NOTE: no Chromium was found and none could be installed: the browser checks did not run"
  [ "${CI:-}" != true ]
fi
