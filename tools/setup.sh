#!/usr/bin/env bash
# Make the environment .venv if it is missing or older than what it is made from. Quiet and quick
# when there is nothing to do; every missing tool is named with its remedy.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.venv
stamp=$venv/.made-from
wanted=$(cat requirements.txt requirements.lock pyproject.toml | cksum)

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

if ! command -v "$python" >/dev/null; then
  echo "No $python here. Install Python 3.11, 3.12 or 3.13 (Debian: apt-get install python3 python3-venv)," >&2
  echo "or name one: make PYTHON=/path/to/python3.12 …" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
  echo "Python 3.11, 3.12 or 3.13 is needed, $python is $("$python" --version)." >&2
  echo "Name another one: make PYTHON=/path/to/python3.12 …" >&2
  exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "$python has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2
  exit 1
fi
echo "Setting up $venv: the packages of requirements.txt and requirements.lock (a few minutes, once)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --requirement requirements.txt --constraint requirements.lock
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
echo "$wanted" > "$stamp"
