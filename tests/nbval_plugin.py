"""nbval compares text; figures are covered by cells that print the plotted numbers."""

import json
from pathlib import Path

BOOK = Path(__file__).resolve().parent.parent / "book"


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("image/svg+xml",)


def pytest_collection_modifyitems(items):
    """The longest chapters first, so that no worker begins one when the others are done."""
    took = json.loads((BOOK / "runtimes.json").read_text(encoding="utf-8"))["pages"]
    took = {BOOK / f"{name}.ipynb": seconds for name, seconds in took.items()}
    items.sort(key=lambda item: -took.get(item.path, 0))
