"""What several tests share: the tools of the repository, importable by name, and a browser."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background: programs that
    signal.signal(signal.SIGINT, signal.default_int_handler)  # are started must heed an interrupt

# what `make quick` leaves to `make test`: most of the time, or the built book
SLOW = """
browser colab critical cuda curvature data generator lab mutations plain_notebooks processors
program replicas repository run simulate slips spectrum statistics stationary sweep truth uci
""".split()

# the longest first, so that no worker begins a long file when the others are done
LONGEST = """
mutations browser colab processors slips program passes action critical discrete exact generator
sweep chains cuda plain_notebooks repository
""".split()


def pytest_collection_modifyitems(items):
    """The order in which files are handed to the workers."""
    place = {f"test_{name}.py": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_ignore_collect(collection_path):
    """Leave the slow files out of a quick look."""
    slow = collection_path.stem.removeprefix("test_") in SLOW
    return True if os.environ.get("DDT_QUICK") and slow else None


FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(autouse=True)
def seeded():
    """The same initial weights in every run: modules draw theirs from torch's global stream."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(20211)


@pytest.fixture(scope="session")
def cuda_simulator():
    """What a program prints in numba's CUDA simulator, which must be chosen before the import."""

    def printed(program):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    return printed


@pytest.fixture(scope="module")
def browser():
    """Chromium for a file of tests; without one they are skipped."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("DDT_CHROMIUM")
    if not path:
        pytest.skip("no Chromium: set DDT_CHROMIUM to its path")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()
