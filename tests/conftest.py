"""What several tests share: the tools of the repository, importable by name."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

# what `make quick` leaves to `make test`: most of the time, or the built book
SLOW = """
browser colab critical cuda curvature data generator lab mutations plain_notebooks processors
program replicas repository run simulate spectrum statistics stationary sweep truth uci
""".split()


def pytest_ignore_collect(collection_path):
    """Leave the slow files out of a quick look."""
    slow = collection_path.stem.removeprefix("test_") in SLOW
    return True if os.environ.get("DDT_QUICK") and slow else None
