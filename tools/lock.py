"""Lock every package that the book needs, and compare the lock with what is installed.

    python tools/lock.py             resolve requirements.txt again and write requirements.lock
    python tools/lock.py --installed  say where this environment differs from the lock

The lock holds one version of each package for every Python that the book supports. What only
PyTorch's build for GPUs needs is left out: PyTorch itself asks for exact versions of it, and the
small build has none of it. A system other than Linux may need a few packages more.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
ASKED, LOCK = ROOT / "requirements.txt", ROOT / "requirements.lock"
PYTHONS = ("3.11", "3.12", "3.13")
OWN = {"pip", "ddt-utils"}  # the installer and what is installed from this folder
HEADER = """\
# Every package behind requirements.txt at the version that was tried, for Python {}.
# Written by `make lock`. What only PyTorch's build for GPUs needs is pinned by PyTorch itself.
"""


def pins(path: Path) -> dict[str, str]:
    """The versions that a file of ``name==version`` lines asks for, by canonical name.

    Raises:
        ValueError: a line that is no exact pin.
    """
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pin = re.fullmatch(r"([\w.-]+)==([\w.!]+)(?: *;.*)?", line)
        if pin is None:
            raise ValueError(f"{path.name} holds lines like name==1.2, got {line!r}; run make lock")
        found[canonicalize_name(pin[1])] = pin[2]
    return found


def reached(asked, needs: dict[str, list[str]], python: str) -> tuple[set[str], set[str]]:
    """The packages that the asked ones need on Linux under one Python, and those that are missing.

    Args:
        asked: names of packages, or requirements.
        needs: the requirements of every package at hand, as its metadata states them.
        python: as in ``3.12``.

    Returns:
        The names of the packages that are reached and at hand, and of those that are not.
    """
    where = {"python_version": python, "python_full_version": f"{python}.0"}
    where |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    found, missing = set(), set()
    waiting = [part for text in asked for part in _parts(Requirement(text))]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        if name not in needs:
            missing.add(name)
            continue
        found.add(name)
        for text in needs[name]:
            wanted = Requirement(text)
            if wanted.marker and not wanted.marker.evaluate(where | {"extra": extra}):
                continue
            if _for_gpus(name, wanted.marker):
                continue
            new = set(_parts(wanted)) - seen
            seen |= new
            waiting += new
    return found, missing


def _parts(wanted: Requirement) -> list[tuple[str, str]]:
    """A required package and those of its extras that are asked for."""
    return [(canonicalize_name(wanted.name), extra) for extra in ("", *wanted.extras)]


def _for_gpus(name: str, marker: Marker | None) -> bool:
    """PyTorch asks for CUDA's libraries on Linux and for nothing else with this condition."""
    return name == "torch" and "platform_system" in str(marker)


def resolved(python: str, known: dict[str, str], more: set[str]) -> dict[str, tuple[str, list]]:
    """What pip would install under one Python: name to version and requirements.

    Args:
        python: as in ``3.12``.
        known: versions that are already decided.
        more: names to resolve besides those of ``requirements.txt``.

    Returns:
        The version and the stated requirements of every package, by canonical name.

    Raises:
        subprocess.CalledProcessError: no set of wheels satisfies the requirements.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, decided = Path(folder) / "report.json", Path(folder) / "decided.txt"
        decided.write_text("".join(f"{name}=={version}\n" for name, version in known.items()))
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--python-version", python]
        command += ["--target", folder, "--report", report, "--constraint", decided]
        subprocess.run([*command, "--requirement", ASKED, *sorted(more)], check=True)
        rows = [row["metadata"] for row in json.loads(report.read_text())["install"]]
    return {
        canonicalize_name(row["name"]): (row["version"].split("+")[0], row.get("requires_dist", []))
        for row in rows
    }


def locked() -> dict[str, tuple[str, set[str]]]:
    """A version of every package and the Pythons that need it, the oldest Python decided first.

    pip reads conditions like ``python_version < "3.13"`` for the Python that runs it, so what
    another Python needs besides is found from the packages' own statements and asked for by name.
    """
    versions, used = {}, {}
    for python in PYTHONS:
        more = set()
        while True:
            rows = resolved(python, versions, more)
            names, missing = reached(
                pins(ASKED), {name: needs for name, (_, needs) in rows.items()}, python
            )
            if not missing:
                break
            more |= missing
        for name in names:
            versions[name] = rows[name][0]
            used.setdefault(name, set()).add(python)
    return {name: (version, used[name]) for name, version in sorted(versions.items())}


def written(rows: dict[str, tuple[str, set[str]]]) -> str:
    """The lock as text; a package that some Pythons do without says which ones need it."""
    lines = []
    for name, (version, used) in rows.items():
        some = " or ".join(f'python_version == "{p}"' for p in PYTHONS if p in used)
        lines.append(f"{name}=={version}" + ("" if used == set(PYTHONS) else f" ; {some}"))
    return HEADER.format(", ".join(PYTHONS)) + "\n".join(lines) + "\n"


def differences(path: Path = LOCK) -> list[str]:
    """Where this environment differs from the lock, one phrase each."""
    want = {
        canonicalize_name(line.split("==")[0]): line.split("==")[1].split(";")[0].strip()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
        and not line.startswith("#")
        and (";" not in line or Marker(line.split(";")[1].strip()).evaluate())
    }
    have, needs = {}, {}
    for row in metadata.distributions():
        name = canonicalize_name(row.metadata["Name"])
        have[name], needs[name] = row.version.split("+")[0], row.requires or []
    python = ".".join(map(str, sys.version_info[:2]))
    extra = set(have) - set(want) - OWN - _of_gpus(needs, python)
    found = [f"{name} {have[name]} is installed, not locked" for name in extra]
    for name, version in want.items():
        here = f"{have[name]} installed" if name in have else "not installed"
        if have.get(name) != version:
            found.append(f"{name} {version} is locked, {here}")
    return sorted(found)


def _of_gpus(needs: dict[str, list[str]], python: str) -> set[str]:
    """What is installed because a GPU asks for it: CUDA for PyTorch and for the simulator."""
    texts = needs.get("torch", [])
    asked = [text for text in texts if _for_gpus("torch", Requirement(text).marker)]
    return reached([*asked, "numba-cuda"], needs, python)[0]


def main() -> int:
    """Do what the command line asks for.

    Returns:
        0, or 1 if the environment differs from the lock.
    """
    if "--installed" in sys.argv[1:]:
        found = differences()
        print("\n".join(found) or "what is installed is what is locked")
        return bool(found)
    LOCK.write_text(written(locked()), encoding="utf-8")
    print(f"wrote {LOCK.name}: {len(pins(LOCK))} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
