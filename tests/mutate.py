"""How a mistake is made on purpose, and a pytest that sees nothing else."""

import os


def mutated(text, old, new):
    """The text with one passage exchanged, which must be there exactly once."""
    assert text.count(old) == 1, f"found {text.count(old)} times, so the mistake is not made: {old}"
    return text.replace(old, new)


def bare():
    """The environment for a pytest of its own, without options or plugins from outside."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
