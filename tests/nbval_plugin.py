"""nbval compares text; figures are covered by cells that print the plotted numbers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import notebooks


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("image/svg+xml",)


def pytest_collection_modifyitems(items):
    """The longest chapters first, so that no worker begins one when the others are done."""
    took = notebooks.run_times(notebooks.RUNTIMES)
    took = {notebooks.BOOK / f"{name}.ipynb": seconds for name, seconds in took.items()}
    items.sort(key=lambda item: -took.get(item.path, 0))
