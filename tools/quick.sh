#!/usr/bin/env bash
# An answer in four minutes: style, the fast tests, and the chapters that changed since the last
# commit. Called by `make quick`; `make test` checks the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 MPLBACKEND=agg DDT_QUICK=1

echo "== style"
bash tools/style.sh
$python tools/notebooks.py --check
$python tools/plain_notebooks.py --check

echo "== the fast tests"
$python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests

echo "== the chapters that changed, executed again and compared"
mapfile -t chapters < <($python tools/changed.py)
[ ${#chapters[@]} -eq 0 ] || bash tools/compare.sh "${chapters[@]}"
