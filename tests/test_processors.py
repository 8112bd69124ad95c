"""The stored pages and drawings are what another processor makes, as far as a reader sees.

A page of each kind runs with the kernels that the libraries choose on older processors, and nbval
compares every line of text that it prints. With ``DDT_PROCESSORS=all`` every chapter does.
"""

import os
import platform
import subprocess
import sys

import notebooks
import pytest

from tests.processors import PROCESSORS, environment, seen

ROOT, EVERYTHING = notebooks.ROOT, os.environ.get("DDT_PROCESSORS") == "all"
PAGES = {
    "without AVX-512": ["index", "escape/kramers", "networks/your-own-network"],
    "without AVX": ["engine/how-it-works"],
}
if EVERYTHING:
    NAMES = [p.relative_to(notebooks.BOOK).with_suffix("").as_posix() for p in notebooks.chapters()]
    PAGES = dict.fromkeys(PROCESSORS, NAMES)

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="the kernels are those of x86-64"
)


def run(name, *command, **more):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(name) | more,
        capture_output=True,
        text=True,
    )


def test_the_libraries_take_other_kernels():
    avx2, sse = seen("without AVX-512"), seen("without AVX")
    assert (avx2["blas"], avx2["numba"], avx2["torch"]) == (["Haswell"], "haswell", "AVX2")
    assert (sse["numba"], sse["torch"], sse["numpy"]) == ("nehalem", "DEFAULT", [])
    assert set(avx2["numpy"]) <= {"X86_V3", "AVX2", "FMA3"}
    assert not {"Haswell", "Zen", "SkylakeX"} & set(sse["blas"])


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_drawing_looks_the_same(name):
    found = run(name, "tools/drawings.py", "--check")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(("name", "page"), [(n, p) for n, pages in PAGES.items() for p in pages])
def test_a_page_prints_what_is_stored(name, page):
    command = ["-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command += ["--nbval-cell-timeout", "900", "--nbval-sanitize-with", "tests/nbval-sanitize.cfg"]
    command += ["-p", "tests.nbval_plugin", f"book/{page}.ipynb"]
    backend = "module://matplotlib_inline.backend_inline"
    found = run(name, *command, MPLBACKEND=backend, PYTEST_XDIST_WORKER="", PYTEST_ADDOPTS="")
    assert found.returncode == 0, found.stdout[-4000:]
