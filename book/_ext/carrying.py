"""What a reader takes along or looks up: the ledger's form, module pages, search, a citation.

Each has a module of its own; this one tells Sphinx about them.
"""

from __future__ import annotations


def setup(app):
    app.add_css_file("ledger.css")
    app.add_js_file("ledger.js")
    return {"parallel_read_safe": True, "version": "1"}
